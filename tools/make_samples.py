"""Build the packaged samples from the original data: python -m tools.make_samples DATA.

DATA holds online-retail/online_retail.parquet and kuairand-pure-2w/ (two logs and two feature tables). What is
changed is described in the ATTRIBUTION.md beside each sample. Running it twice gives the same bytes.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import polars as pl

from edgerec.tasks.units import MS_PER_HOUR

SAMPLES = Path(__file__).resolve().parent.parent / "edgerec" / "samples"
USER_COLUMNS = [
    "user_id",
    "user_active_degree",
    "is_live_streamer",
    "is_video_author",
    "follow_user_num_range",
    "fans_user_num_range",
    "friend_user_num_range",
    "register_days_range",
    "follow_user_num",
    "fans_user_num",
    "friend_user_num",
    "register_days",
    *(f"onehot_feat{i}" for i in range(18)),
]
VIDEO_COLUMNS = [
    "video_id",
    "author_id",
    "video_type",
    "upload_type",
    "video_duration",
    "music_id",
    "music_type",
    "tag",
]
LOG_COLUMNS = [
    "user_id",
    "video_id",
    "time_ms",
    "tab",
    "duration_ms",
    "is_click",
    "is_like",
    "is_follow",
    "is_comment",
    "is_forward",
    "is_hate",
    "long_view",
    "play_time_ms",
]


def retail(source: Path) -> None:
    """All rows and columns; codes in capitals, whole customer numbers as integers, narrower types."""
    log = pl.read_parquet(source / "online_retail.parquet").with_columns(
        pl.col("StockCode").str.to_uppercase(),
        pl.col("CustomerID").cast(pl.Int32),
        pl.col("Quantity").cast(pl.Int32),
        pl.col("InvoiceDate").cast(pl.Datetime("ms")),
    )
    write(log, SAMPLES / "retail" / "online_retail.parquet")


def video(source: Path) -> None:
    """The standard log with times that agree with its dates, the users and videos of it."""
    log = pl.concat(pl.read_parquet(path) for path in sorted(source.glob("log_standard_*.parquet")))
    midnight = pl.col("date").cast(pl.String).str.to_datetime("%Y%m%d", time_zone="Asia/Shanghai").dt.epoch("ms")
    # The day is the log's own partition; a repeated row counts on its last day, as in the published splits.
    log = log.with_columns(day=midnight.max().over("user_id", "video_id", "time_ms"))
    early = pl.col("time_ms") - pl.col("day")
    # At most three hours before its day: pressed into the day's first minute, so that order and distinctness stay.
    moved = pl.col("day") + (early + 3 * MS_PER_HOUR) // 180
    log = log.with_columns(time_ms=pl.when(early < 0).then(moved).otherwise("time_ms")).select(LOG_COLUMNS)
    narrow: dict[str, type[pl.DataType]] = {name: pl.Int8 for name in LOG_COLUMNS if name.startswith("is_")}
    narrow |= {"tab": pl.Int8, "long_view": pl.Int8, "user_id": pl.Int32, "video_id": pl.Int32}
    narrow |= {"duration_ms": pl.Int32, "play_time_ms": pl.Int32}
    write(
        log.with_columns(pl.col(name).cast(dtype) for name, dtype in narrow.items()), SAMPLES / "video" / "log.parquet"
    )

    users = pl.read_csv(source / "user_features_pure.csv.gz").select(USER_COLUMNS)
    whole = [name for name, dtype in users.schema.items() if dtype.is_numeric()]
    users = users.with_columns(pl.col(whole).cast(pl.Int32)).join(log, on="user_id", how="semi")
    write(users.sort("user_id"), SAMPLES / "video" / "users.parquet")

    videos = pl.read_csv(source / "video_features_basic_pure.csv.gz", infer_schema_length=None).select(VIDEO_COLUMNS)
    # The log has the duration of every video, always the same; the table lacks 239 of them.
    durations = log.group_by("video_id").agg(pl.col("duration_ms").median())
    videos = videos.join(durations, on="video_id", how="left", maintain_order="left").with_columns(
        pl.col("tag").str.split(",").list.first(),
        pl.coalesce("video_duration", "duration_ms").cast(pl.Float32).alias("video_duration"),
        pl.col("music_type").cast(pl.Int8),
    )
    write(videos.select(VIDEO_COLUMNS).sort("video_id"), SAMPLES / "video" / "videos.parquet")
    shutil.copyfile(source / "LICENSE", SAMPLES / "video" / "LICENSE")


def write(frame: pl.DataFrame, path: Path) -> None:
    """Write small Parquet and print its size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path, compression="zstd", compression_level=19, row_group_size=1_000_000, statistics=False)
    print(f"{path.relative_to(SAMPLES)}: {frame.height} rows, {path.stat().st_size / 2**20:.2f} MiB")


def main() -> None:
    """Build both samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with online-retail/ and kuairand-pure-2w/")
    data = parser.parse_args().data
    retail(data / "online-retail")
    video(data / "kuairand-pure-2w")


if __name__ == "__main__":
    main()
