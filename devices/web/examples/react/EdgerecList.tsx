/** `<edgerec-list>` for React 19 and later. `home` is the folder that `edgerec embed web BUNDLE kiosk` wrote, as "/kiosk/". */
import { useEffect, type Ref } from "react";

export interface Picked {
  item: string;
  title: string;
}

/** What a ref gets: tells all lists of the page what the visitor put into the basket, or does not want. */
export interface ListElement extends HTMLElement {
  put(item: string, change?: number): Promise<unknown>;
  hide(item: string): Promise<unknown>;
}

interface Attributes {
  ref?: Ref<ListElement>;
  layout?: "grid" | "carousel";
  /** An item: the list is what goes with it. */
  because?: string;
  search?: boolean;
  k?: number;
  heading?: string;
  /** Where a card leads, with {id}. */
  href?: string;
  language?: string;
}

declare module "react" {
  namespace JSX {
    interface IntrinsicElements {
      "edgerec-list": Attributes & { "onedgerec-pick"?(event: CustomEvent<Picked>): void; "onedgerec-trouble"?(event: CustomEvent<Error>): void };
    }
  }
}

export function EdgerecList({ home, onPick, onTrouble, ...attributes }: Attributes & { home: string; onPick?(picked: Picked): void; onTrouble?(message: string): void }) {
  useEffect(() => {
    const address = new URL("shop/widget.js", new URL(home, document.baseURI)).href;
    import(/* @vite-ignore */ /* webpackIgnore: true */ address).catch((error: Error) => onTrouble?.(error.message));
  }, [home]); // eslint-disable-line react-hooks/exhaustive-deps
  return <edgerec-list {...attributes} onedgerec-pick={(event) => onPick?.(event.detail)} onedgerec-trouble={(event) => onTrouble?.(event.detail.message)} />;
}
