/** A list for the visitor, and what goes with the item that was picked. */
import { useRef, useState } from "react";
import { createRoot } from "react-dom/client";
import { EdgerecList, type ListElement, type Picked } from "./EdgerecList.tsx";

function App() {
  const list = useRef<ListElement>(null);
  const [picked, setPicked] = useState<Picked | null>(null);
  const [trouble, setTrouble] = useState("");
  return (
    <main>
      <h1>My shop</h1>
      {trouble !== "" && <p role="alert">{trouble}</p>}
      <EdgerecList home="kiosk/" ref={list} search k={8} heading={picked ? `Since you looked at ${picked.title}` : "For you"} onPick={setPicked} onTrouble={setTrouble} />
      {picked && (
        <section>
          <button type="button" onClick={() => void list.current?.put(picked.item)}>Add {picked.title}</button>
          <EdgerecList home="kiosk/" layout="carousel" because={picked.item} />
        </section>
      )}
    </main>
  );
}

createRoot(document.getElementById("app")!).render(<App />);
