"""Texts to compare a tokenizer in a graph on: the built-in sentences, many scripts, and what breaks tokenizers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache

from export.evaluation.data import built_in

_NAME = "built-in texts and scripts"

#: Each has something that operators on strings get wrong at times.
_HARD = (
    "",
    " ",
    "\t\n\r\u00a0\u2003\u3000 ",
    ".",
    "Hello, World!",
    "don't can't I'm they're o'clock `tick` \"double\"",
    "snake_case camelCase kebab-case path/to/file.txt C:\\dir\\file a@b.example #tag $5.00 50% 3.14e-10",
    "[CLS] [SEP] [MASK] [PAD] [UNK] [mask] [cls]",
    "text[MASK]glued[SEP]together [MASK].[MASK],[MASK]",
    "[ MASK ] [MASK [[MASK]] ##ing ## #",
    "Paris is the [MASK] of France.",
    "naïve café résumé Ångström œuvre Ærøskøbing Łódź São Tomé Đorđe",
    "nai\u0308ve cafe\u0301 A\u030angstro\u0308m Z\u0351\u036b\u0343\u0314algo te\u0301\u0302\u0303xt",
    "\u0301only marks \u0301\u0302\u0303",
    "Straße STRASSE ẞ ﬁne ﬀ ǅ ǆ İstanbul ısı Iğdır ŉ ǰ",
    "Ελληνικά: ΟΔΥΣΣΕΥΣ ΣΑΣ Σ σς ΆΈΉΊΌΎΏ ΐΰ Ὀδυσσεύς",
    "Русский текст: Ёлка, ёжик, й и Й, съешь ещё этих мягких французских булок",
    "Việt Nam: Tôi yêu tiếng Việt. Đường phố Hà Nội",
    "人工智能正在改变世界。我喜欢北京的秋天，你呢？",
    "日本語の文章には漢字とひらがなとカタカナが混ざっています。半角ｶﾀｶﾅとＦｕｌｌ",
    "한국어 문장은 띄어쓰기가 있습니다. \u1112\u1161\u11ab",
    "𠀀𠁀 𪜀 𫝀 𫠠 豈 丽 〇〆々ヶ 〒",
    "اللغة العربية جميلة، أليس كذلك؟ قَالَ مُحَمَّدٌ",
    "עִבְרִית: שָׁלוֹם עוֹלָם! מה נשמע?",
    "हिन्दी में लिखा हुआ वाक्य। தமிழ் മലയാളം বাংলা",
    "ภาษาไทยไม่มีการเว้นวรรคระหว่างคำ ພາສາລາວ ខ្មែរ မြန်မာ",
    "emoji 😀 👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇯🇵 1️⃣ ❤️",
    "zero\u200bwidth\u200cnon\u200djoiner\u2060word\ufeffbom soft\u00adhyphen \u202eright to left\u202c",
    "control\x00\x01\x02\x07\x08\x0b\x0c\x1b[0m\x1e\x1f\x7f\x80\x85\x9f chars",
    "replacement \ufffd private \ue000\ue001\ue002\uf8ff plane 15 \U000f0000 noncharacter \ufdd0\uffff",
    "unassigned \u0378\u0380 \U0001fbff tags \U000e0041 line\u2028separator\u2029paragraph\x85next",
    "‘single’ “double” «guillemets» … – — ‑ § ¶ • ※ ¿¡ ∑√∞≈ ←↑→↓ ½¼ ² ℃ ™ € £ ¥ ₹",
    "ⅠⅡ ⅳ ① ⓐ 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛 K Å Ω ᏣᎳᎩ ꮳꮃꭹ Ⰰ 𐐀 𞤀",
    "a" * 99 + " " + "b" * 100 + " " + "c" * 101 + " " + "é" * 101,
    "unaffable xyzzyqwv ab\u0e01b antidisestablishmentarianism",
    "......!!!!!!?????? ------ ______ ======",
)


@dataclass(frozen=True)
class SampleTexts:
    """Texts, what manifests call them, and the sha256 of their UTF-8, a byte of 0xff after each."""

    name: str
    texts: tuple[str, ...]
    sha256: str


@cache
def sample_texts() -> SampleTexts:
    """The built-in evaluation texts, hard ones between them, and texts beyond any model's length."""
    sentences = [example.text for example in built_in("evaluation").examples]
    long = [" ".join(sentences[start : start + 90]) for start in range(0, len(sentences), 90)]
    texts = (*_HARD, *sentences, *long, "中" * 1500, "x " * 1500)
    digest = hashlib.sha256(b"".join(text.encode() + b"\xff" for text in texts))
    return SampleTexts(_NAME, texts, digest.hexdigest())
