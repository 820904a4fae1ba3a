/** The words of the page, by language; a new language needs its code and words here only. */
export const WORDS = {
  en: {
    search: "Search", done: "I am done", forYou: "For you", popular: "Popular now", found: "Found", wishes: "What counts",
    back: "Back", related: "Goes well with it", because: "because you looked at", nothing: "Nothing found", again: "you looked at it",
    broken: "Recommendations are being repaired. Here is what is popular.", ready: "A newer list is in use",
    refused: "An update was refused",
  },
  de: {
    search: "Suchen", done: "Fertig", forYou: "Für Sie", popular: "Gerade beliebt", found: "Gefunden",
    wishes: "Was zählt", back: "Zurück", related: "Passt dazu", because: "weil Sie ansahen:", nothing: "Nichts gefunden",
    again: "haben Sie angesehen", broken: "Die Empfehlungen werden repariert. Das hier ist beliebt.",
    ready: "Eine neuere Liste ist im Einsatz", refused: "Eine Aktualisierung wurde abgelehnt",
  },
  zh: {
    search: "搜索", done: "完成", forYou: "为您推荐", popular: "热门", found: "搜索结果", wishes: "看重什么", back: "返回",
    related: "搭配推荐", because: "因为您看过", nothing: "没有找到", again: "您看过", broken: "推荐正在修复。以下为热门商品。",
    ready: "已启用新的列表", refused: "更新被拒绝",
  },
};
