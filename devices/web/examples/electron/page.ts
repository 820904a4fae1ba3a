/** The page: a list, and what a click on it changes. */
import type { PageRecommender } from "edgerec/electron";

declare const edgerec: PageRecommender;

async function show(): Promise<void> {
  const { items, listName } = await edgerec.recommend(10, { explain: true, log: true });
  const list = document.querySelector("ol");
  list?.replaceChildren(
    ...items.map((row) => {
      const button = document.createElement("button");
      button.textContent = row.title;
      button.title = row.reasons.map((reason) => reason.title ?? "popular").join(", ");
      button.onclick = async () => {
        await edgerec.observe(row.item, { kind: "click", listName: listName ?? undefined });
        await show();
      };
      const line = document.createElement("li");
      line.append(button);
      return line;
    }),
  );
}

void show();
