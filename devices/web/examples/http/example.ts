/** Asks `edgerec serve` for a list: node example.ts [URL] [ITEM]. Node 24 runs TypeScript as it is. */
import { Client, Refused } from "./client.ts";

const [, , url = "http://localhost:8765", seen = "22423"] = process.argv;
const shop = new Client(url, process.env.EDGEREC_TOKEN);
try {
  await shop.observe({ item: seen, profile: "anna" });
  const list = await shop.recommend({ profile: "anna", k: 5, explain: true });
  for (const { title, reasons } of list.items) console.log(title, "-", reasons[0]?.title ?? "popular now");
  console.log("goes with it:", (await shop.similar(seen, 3)).items.map((item) => item.title).join(", "));
} catch (error) {
  console.error(error instanceof Refused ? `refused: ${error.message}` : `${url}: no answer; is edgerec serve running?`);
  process.exitCode = 1;
}
