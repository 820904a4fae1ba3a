"""What the name of a column says about its part in a log, in the languages in which logs are kept."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

__all__ = [
    "AGGREGATE",
    "CLOCK",
    "DAYS",
    "EXPOSURE",
    "FLAGS",
    "ID_WORDS",
    "ITEM",
    "KINDS",
    "KIND_OF_EVENT",
    "KNOWN_BEFORE",
    "MEASURES",
    "ORDER",
    "OTHER_THINGS",
    "PLACES",
    "QUANTITY",
    "RATING",
    "SESSION",
    "SORTS",
    "STATUS",
    "TIME",
    "TIME_OF_ANOTHER",
    "USER",
    "WATCH",
    "exposure_of",
    "names_id",
    "rank_of",
    "refuses",
    "says",
    "words_of",
]

Words: TypeAlias = tuple[str, ...]

# Words stand in the order of how much they tell. Chinese, Japanese, Korean and Thai are written without spaces: their
# words are found anywhere in a name. All others are whole words, or the beginning of a compound such as Kundennummer.
USER: Final[Words] = (
    *("user", "customer", "visitor", "member", "client", "shopper", "buyer", "account", "uid", "subscriber", "guest"),
    *("reviewer", "consumer", "listener", "viewer", "reader", "player", "person", "learner", "student", "patient"),
    *("household", "panelist", "profile", "passenger", "rater", "author", "cust", "usr", "msno", "cookie", "idfa"),
    *("kunde", "kunden", "nutzer", "benutzer", "mitglied", "besucher", "kaufer", "kaeufer", "horer", "anwender"),
    *("utilisateur", "visiteur", "membre", "acheteur", "abonne", "spectateur", "lecteur", "usager"),
    *("usuario", "cliente", "comprador", "visitante", "miembro", "suscriptor", "assinante", "membro"),
    *("utente", "acquirente", "visitatore", "gebruiker", "klant", "bezoeker", "lid", "anvandare", "kund", "bruker"),
    *("bruger", "kayttaja", "asiakas", "uzytkownik", "klient", "uzivatel", "zakaznik", "felhasznalo", "ugyfel", "vevo"),
    *("kullanici", "musteri", "uye", "utilizator", "pengguna", "pelanggan", "khach"),
    *("klienta", "uzytkownika", "zakaznika", "uzivatele"),
    *("пользователь", "пользователя", "клиент", "клиента", "покупатель", "покупателя", "посетитель", "читатель"),
    *("користувач", "клієнт", "χρηστης", "πελατης", "مستخدم", "عميل", "משתמש", "לקוח", "उपयोगकर्ता", "ग्राहक"),
    *(
        "用户",
        "客户",
        "会员",
        "顾客",
        "用戶",
        "客戶",
        "會員",
        "ユーザ",
        "顧客",
        "会員",
        "利用者",
        "사용자",
        "고객",
        "회원",
    ),
    *("ผู้ใช้", "ลูกค้า"),
    "u",
)
ITEM: Final[Words] = (
    *("item", "product", "stock", "sku", "article", "movie", "film", "video", "track", "song", "book", "news", "asin"),
    *("iid", "app", "game", "recipe", "podcast", "episode", "anime", "manga", "show", "listing", "creative", "post"),
    *("photo", "image", "content", "document", "doc", "course", "job", "vacancy", "offer", "deal", "hotel", "property"),
    *(
        "restaurant",
        "business",
        "prop",
        "dish",
        "meal",
        "venue",
        "poi",
        "place",
        "album",
        "artist",
        "isbn",
        "gtin",
        "ean",
    ),
    *("upc", "barcode", "goods", "good", "merchandise", "commodity", "prod", "plu", "variant", "title", "recording"),
    *("gmap", "ad", "advert", "banner", "coupon", "beer", "wine", "joke", "paper", "question", "exercise", "channel"),
    *("artikel", "produkt", "ware", "buch", "lied", "gericht", "spiel", "inserat", "produit", "livre", "chanson"),
    *("producto", "articulo", "libro", "pelicula", "cancion", "juego", "prodotto", "articolo", "brano", "gioco"),
    *("produto", "artigo", "livro", "filme", "musica", "jogo", "boek", "vara", "bok", "vare", "tuote", "kirja"),
    *("towaru", "produktu", "ksiazki", "filmu", "vyrobku", "knihy", "urunu"),
    *("towar", "ksiazka", "piosenka", "zbozi", "vyrobek", "kniha", "termek", "konyv", "urun", "kitap", "produs"),
    *("produk", "barang", "buku", "товар", "товара", "продукт", "книга", "книги", "фильм", "фильма", "песня"),
    *("артикул", "предмет", "προϊον", "منتج", "מוצר", "उत्पाद"),
    *("商品", "物品", "产品", "產品", "视频", "影片", "电影", "歌曲", "新闻", "笔记", "製品"),
    *("アイテム", "作品", "映画", "品番"),
    *("상품", "아이템", "제품", "영화", "สินค้า"),
    "i",
)
TIME: Final[Words] = (
    *("timestamp", "datetime", "time", "date", "ts", "created", "when", "epoch", "unix", "day", "dat", "dt", "utc"),
    *("zeitstempel", "zeitpunkt", "zeit", "datum", "uhrzeit", "tag", "heure", "jour", "horodatage", "quand"),
    *("fecha", "hora", "momento", "data", "ora", "giorno", "horario", "tijd", "tijdstip", "tid", "dato", "aika"),
    *("paivamaara", "paiva", "czas", "cas", "ido", "idopont", "tarih", "zaman", "waktu", "tanggal", "ngay"),
    *("дата", "время", "час", "ημερομηνια", "ωρα", "تاريخ", "תאריך", "दिनांक", "समय"),
    *("时间", "日期", "時間", "日時", "日付", "時刻", "날짜", "시간", "일시", "일자", "วันที่", "เวลา"),
    "t",
)
TIME_OF_ANOTHER: Final[Words] = (
    *("release", "released", "publish", "published", "publication", "birth", "birthday", "signup", "register"),
    *("registered", "registration", "joined", "join", "updated", "modified", "end", "expiry", "expires", "expiration"),
    *("ship", "shipping", "shipment", "dispatch", "due", "payment", "paid", "arrival", "arrived", "return", "returned"),
    *("lieferung", "lieferdatum", "versand", "versanddatum", "fallig", "zahlung", "zahlungsdatum", "livraison"),
    *("echeance", "paiement", "envio", "entrega", "vencimiento", "vencimento", "pago", "pagamento", "consegna"),
    *("delivery", "delivered", "shipped", "answer", "answered", "first", "last", "since", "launch", "upload", "edited"),
)
"""Dates of an item, of a user or of something that came after the event."""
CLOCK: Final[Words] = (
    "time",
    "hour",
    "clock",
    "uhrzeit",
    "zeit",
    "heure",
    "hora",
    "ora",
    "tijd",
    "tid",
    "czas",
    "время",
)
SESSION: Final[Words] = (
    *("session", "basket", "invoice", "order", "visit", "transaction", "receipt", "cart", "impression", "trip"),
    *(
        "ticket",
        "slate",
        "exposure",
        "request",
        "playlist",
        "search",
        "query",
        "checkout",
        "purchase",
        "trans",
        "sess",
        "srch",
    ),
    *(
        "sitzung",
        "warenkorb",
        "rechnung",
        "bestellung",
        "bestell",
        "bestel",
        "transaktion",
        "beleg",
        "bon",
        "auftrag",
        "panier",
        "facture",
    ),
    *("commande", "recu", "pedido", "cesta", "factura", "carrito", "compra", "recibo", "carrinho", "fatura", "sessao"),
    *("ordine", "carrello", "scontrino", "fattura", "sessione", "bestelling", "mandje", "winkelmandje", "kvitto"),
    *("kvittering", "zamowienie", "koszyk", "paragon", "sesja", "objednavka", "kosik", "siparis", "sepet", "oturum"),
    *("заказ", "заказа", "чек", "чека", "корзина", "сессия", "сессии", "pesanan", "keranjang"),
    *("订单", "會話", "会话", "购物篮", "訂單", "注文", "セッション", "伝票", "주문", "세션", "장바구니", "영수증"),
)
RATING: Final[Words] = (
    *("rating", "stars", "star", "rate", "score", "overall", "grade", "vote", "mark", "preference", "enjoyment"),
    *("bewertung", "sterne", "note", "punktzahl", "calificacion", "puntuacion", "valoracion", "valutazione", "voto"),
    *("avaliacao", "nota", "beoordeling", "betyg", "karakter", "arvosana", "ocena", "hodnoceni", "puan", "ertekeles"),
    *("оценка", "рейтинг", "评分", "評分", "評価", "평점", "별점", "คะแนน"),
    "r",
)
AGGREGATE: Final[Words] = (
    "count",
    "counts",
    "avg",
    "average",
    "mean",
    "num",
    "total",
    "sum",
    "median",
    "std",
    "n",
    "number",
)
"""A rating of all users together is an attribute of the item."""
WATCH: Final[Words] = (
    *("play", "playtime", "watch", "watched", "watchtime", "dwell", "stay", "listen", "listened", "read", "viewed"),
    *("spent", "elapsed", "hours", "minutes", "seconds", "gedauer", "spielzeit", "plays", "playcount", "listens"),
)
QUANTITY: Final[Words] = (
    *("quantity", "qty", "units", "menge", "anzahl", "stueck", "quantite", "cantidad", "quantita", "quantidade"),
    *("aantal", "antal", "ilosc", "mnozstvi", "adet", "miktar", "mennyiseg", "jumlah", "количество", "кол"),
    *("数量", "數量", "個数", "수량"),
)
FLAGS: Final[Words] = (
    *("click", "clicked", "clk", "klick", "view", "viewed", "like", "liked", "follow", "followed", "buy", "bought"),
    *("purchase", "purchased", "conversion", "convert", "converted", "share", "shared", "comment", "forward"),
    *("favorite", "favourite", "fav", "save", "saved", "hate", "dislike", "is", "has", "label", "target", "y"),
    *("install", "installed", "download", "downloaded", "apply", "applied", "skip", "skipped", "completed", "complete"),
    *("finish", "finished", "response", "outcome", "reward", "feedback", "order", "ordered", "reordered", "booked"),
    *("thumb", "vote", "voted", "upvote", "reaction", "sentiment"),
    *("booking", "opened", "replied", "accepted", "correct", "return", "returned", "gekauft", "geklickt", "achat"),
    *("clic", "compra", "comprado", "клик", "покупка", "点击", "购买", "收藏", "クリック", "購入", "클릭", "구매"),
)
KNOWN_BEFORE: Final[Words] = (
    *("weekend", "holiday", "promo", "promotion", "member", "new", "returning", "discount", "free", "premium"),
    *("available", "stock", "mobile", "night", "sale", "gift", "adult", "original", "default"),
)
"""Flags with these words are known before anything is shown."""
KIND_OF_EVENT: Final[Words] = (
    *("event", "action", "behavior", "behaviour", "interaction", "activity", "type", "kind", "verb", "operation"),
    *("ereignis", "aktion", "evenement", "evento", "accion", "azione", "acao", "handeling", "handelse", "zdarzenie"),
    *("событие", "действие", "行为", "行為", "事件", "行動", "イベント", "행동", "이벤트"),
)
KINDS: Final = {
    *("view", "views", "click", "cart", "addtocart", "purchase", "buy", "order", "like", "favorite", "favourite"),
    *("share", "play", "skip", "pause", "impression", "transaction", "pv", "fav", "wishlist", "rate", "download"),
    *("install", "save", "comment", "follow", "bookmark", "complete", "start", "watch", "listen", "read", "open"),
    *("return", "refund", "remove", "dislike", "show", "exposure", "checkout", "add", "detail", "rating", "conversion"),
    *("booking", "apply", "search", "finish", "stop", "kauf", "ansicht", "klick", "achat", "vue", "compra", "vista"),
    *("viewed", "clicked", "added", "purchased", "bought", "ordered", "liked", "completed", "placed", "paid"),
    *("angesehen", "gesehen", "geklickt", "gekauft", "bestellt", "warenkorb", "bezahlt", "vu", "achete", "ajoute"),
    *("panier", "visto", "comprado", "anadido", "agregado", "carrito", "adicionado", "carrinho", "visualizzato"),
    *("acquistato", "aggiunto", "carrello", "bekeken", "gekocht", "winkelmandje", "просмотр", "покупка", "корзина"),
    *("浏览", "点击", "收藏", "加购", "购买", "閲覧", "購入", "클릭", "구매"),
}
"""Values of a column that tells the kind of an event; compared as words."""
STATUS: Final[Words] = (
    "status",
    "state",
    "zustand",
    "statut",
    "etat",
    "estado",
    "stato",
    "stav",
    "статус",
    "状态",
    "상태",
)
_REFUSES: Final = re.compile(
    r"(cancel|return|refund|remov|delet|dislik|unlik|hate|skip|stop|pause|hid|uninstall|unfollow|unsubscrib|reject"
    r"|declin|abandon|dismiss|downvot|unsav|unfavou?rit|chargeback|revers)"
    r"(e|es|s|ed|d|led|ped|den|n|ing|ling|ping|ation|al)?"
    r"|storn\w*|abgebrochen|retour\w*|zuruck(gegeben|geschickt|genommen)|ruckgabe|erstattet|entfernt|geloscht"
    r"|annul\w*|rembours\w*|supprim\w*|devuel\w*|devol\w*|reembols\w*|elimin\w*|quitad[oa]|removid[oa]"
    r"|reso|restituit\w|rimbors\w*|rimoss[oa]|geannuleerd|geretourneerd|verwijderd|terugbetaald"
    r"|anulowan\w*|zwro\w*|usuniet\w*|отмен\w*|возв?рат\w*|возвращ\w*|удал\w*|取消|退货|退款|删除|キャンセル|返品|返金|취소|반품|환불"
)
"""Words that undo or refuse, in their forms: order_cancelled, removed_from_cart, storniert."""
PLACES: Final[Words] = (
    *("tab", "page", "device", "platform", "os", "channel", "source", "slot", "placement", "surface", "browser"),
    *("store", "shop", "branch", "filiale", "screen", "section", "medium", "weather", "country", "region", "city"),
    *("language", "locale", "campaign", "terminal", "kiosk", "tienda", "magasin", "negozio", "loja", "winkel"),
)
ORDER: Final[Words] = (
    *("position", "order", "sequence", "seq", "step", "index", "idx", "number", "nr", "no", "basket", "visit", "turn"),
    *("round", "rank", "nth", "ord", "reihenfolge", "folge", "ordre", "orden", "ordine", "ordem", "volgorde"),
    *("session", "place", "t", "count", "counter", "порядок", "номер", "顺序", "順序", "순서"),
)
DAYS: Final[Words] = (
    "day",
    "days",
    "week",
    "month",
    "tag",
    "woche",
    "jour",
    "semaine",
    "dia",
    "semana",
    "giorno",
    "天",
    "日",
)
"""Whole numbers that count these are an order of events, though no clock."""
MEASURES: Final[Words] = (
    *("price", "cost", "amount", "value", "age", "count", "num", "length", "size", "width", "height", "weight", "days"),
    *("duration", "minutes", "seconds", "year", "distance", "latitude", "longitude", "lat", "lon", "lng", "income"),
    *("preis", "alter", "betrag", "laenge", "gewicht", "jahr", "prix", "montant", "poids", "annee", "precio", "edad"),
    *("importe", "prezzo", "importo", "anno", "preco", "valor", "idade", "prijs", "pris", "cena", "cijena", "fiyat"),
    *("цена", "сумма", "возраст", "价格", "单价", "年龄", "価格", "年齢", "가격", "나이"),
)
"""Whole numbers with these words are measures, however few different ones there are."""
OTHER_THINGS: Final[Words] = (
    *("category", "cat", "brand", "shop", "store", "seller", "merchant", "vendor", "city", "country", "region", "tag"),
    *("genre", "department", "aisle", "warehouse", "campaign", "type", "event", "row", "log", "review"),
    *("page", "tab", "group", "cluster", "segment", "zip", "postal", "plz", "area", "zone", "language", "status"),
    *("experiment", "variant", "model", "version", "author", "publisher", "label", "cohort", "bucket", "fold", "marke"),
)
"""Ids of these are neither users nor items."""
SORTS: Final[Words] = (
    *("category", "cat", "brand", "type", "group", "genre", "department", "class", "kategorie", "marke", "typ"),
    *("gruppe", "warengruppe", "categorie", "marque", "groupe", "categoria", "marca", "tipo", "grupo", "gruppo"),
)
"""What users or items are sorted by: product_category_id is no item."""
ID_WORDS: Final = frozenset(
    {"id", "ids", "code", "no", "nr", "num", "number", "nummer", "key", "uuid", "guid", "hash", "sku", "isbn", "ean"}
    | {"gtin", "upc", "barcode", "identifier", "kennung", "numero", "codigo", "codice", "fk", "pk", "ref", "номер"}
    | {"код", "ид", "uid", "iid", "asin", "msno", "idx", "anonymous", "hashed"}
    | {"kod", "kodu", "numer", "numara", "cislo"}
)
_NOT_ID: Final = frozenset(
    {"paid", "valid", "invalid", "android", "void", "grid", "hybrid", "solid", "covid", "rapid", "avoid", "said"}
)
_SCRIPTS: Final = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")

EXPOSURE: Final[Mapping[str, Words]] = {
    "propensity": ("propensity", "propensities", "pscore", "ps"),
    "probability": ("probability", "prob", "likelihood", "pctr", "pcvr", "ctr", "cvr", "logit", "p"),
    "score": ("score", "prediction", "predicted", "pred", "relevance", "confidence", "utility"),
    "rank": ("rank", "ranking"),
    "position": ("position", "pos", "slot", "placement", "posicion", "platz", "位置", "順位", "순위"),
    "random": ("rand", "random", "randomized", "exploration", "explore", "holdout", "treatment", "bandit"),
}
"""What a logging system decided before anyone saw the item."""


def words_of(name: str) -> list[str]:
    """Lower-case words of a column's name, without accents: "StockCode" and "stock_code" are stock and code.

    >>> words_of("reviewerID"), words_of("Número_Cliente")
    (['reviewer', 'id'], ['numero', 'cliente'])
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    plain = unicodedata.normalize("NFKD", spaced).casefold()
    # Marks of other scripts (as in Hindi) are part of their words; Hangul is put together again.
    plain = unicodedata.normalize("NFC", re.sub("[\u0300-\u036f]", "", plain)).replace("ł", "l").replace("ı", "i")
    return [word for word in re.split("[\\d_]|[^\\w\u0900-\u0dff]", plain) if word]


def rank_of(name: str, words: Sequence[str]) -> int | None:
    """The place of the first of `words` that a column's name says; None if it says none of them."""
    own = words_of(name)
    return next((i for i, word in enumerate(words) if any(_is(part, word) for part in own)), None)


def says(name: str, words: Iterable[str]) -> bool:
    """Does a column's name say one of `words`?"""
    return rank_of(name, tuple(words)) is not None


def names_id(name: str) -> bool:
    """Does a column's name say that it holds ids or codes?"""
    own = words_of(name)
    if ID_WORDS.intersection(own) or any(word in name for word in ("编号", "番号", "번호", "コード", "代码")):
        return True
    return any(len(w) > 3 and w.endswith(("id", "nr", "nummer", "code", "key")) and w not in _NOT_ID for w in own)


def refuses(text: str) -> bool:
    """Does a value or the name of a column say that something was undone or refused?

    >>> refuses("order_cancelled"), refuses("Returned"), refuses("returning customer"), refuses("purchase")
    (True, True, True, False)
    """
    return any(_REFUSES.fullmatch(word) for word in words_of(text))


def exposure_of(name: str) -> str | None:
    """What of a logging system's decision a column's name says; see `EXPOSURE`."""
    return next((kind for kind, words in EXPOSURE.items() if says(name, words)), None)


def _is(part: str, word: str) -> bool:
    if _SCRIPTS.search(word):
        return word in part
    if part == word or (part == word + "s" and len(word) > 2):
        return True
    bare = part.removesuffix("id").removesuffix("nr").removesuffix("code").removesuffix("nummer").removesuffix("key")
    return bare in (word, word + "s", word + "n") and len(word) > 2
