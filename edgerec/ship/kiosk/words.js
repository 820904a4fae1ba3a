/** The words of the page, by language; a new language needs its code and words here only. */
export const WORDS = {
  en: {
    search: "Search", done: "I am done", forYou: "For you", popular: "Popular now", found: "Found", nothing: "Nothing found",
    wishes: "What matters to you", back: "Back", related: "Goes well with this", because: "because you looked at",
    again: "you looked at it", ready: "Newer recommendations are in use", refused: "An update was refused",
    broken: "Personal recommendations do not work at the moment. Here is what is popular.",
  },
  de: {
    search: "Suchen", done: "Fertig", forYou: "Für Sie", popular: "Gerade beliebt", found: "Gefunden",
    nothing: "Nichts gefunden", wishes: "Was Ihnen wichtig ist", back: "Zurück", related: "Passt dazu",
    because: "weil Sie ansahen:", again: "haben Sie angesehen", ready: "Neuere Empfehlungen sind im Einsatz",
    refused: "Eine Aktualisierung wurde abgelehnt",
    broken: "Persönliche Empfehlungen sind gerade nicht möglich. Das hier ist beliebt.",
  },
  zh: {
    search: "搜索", done: "完成", forYou: "为您推荐", popular: "热门", found: "搜索结果", wishes: "看重什么", back: "返回",
    related: "搭配推荐", because: "因为您看过", nothing: "没有找到", again: "您看过", broken: "个性化推荐暂不可用。以下为热门商品。",
    ready: "已启用新的推荐", refused: "更新被拒绝",
  },
};
