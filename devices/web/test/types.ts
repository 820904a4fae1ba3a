// The README's example, so that the types are those that an app meets.
import { IndexedStore, Recommender, type Recommendations } from "edgerec";
import * as ort from "onnxruntime-web";

export async function without(): Promise<string> {
  return (await (await Recommender.open("./bundle/", { ort })).health()).engine;
}

export async function first(): Promise<string[]> {
  const store = await IndexedStore.open("shop", { rows: 5000, days: 90 });
  const rec = await Recommender.open("./bundle/", { store });
  const list: Recommendations = await rec.recommend(10, { where: "price < :most", parameters: { most: 20 } });
  await rec.observe(list[0].item, { kind: "click", listName: list.listName ?? undefined });
  return (await rec.similar(list[0].item, 5)).map((r) => r.title);
}
