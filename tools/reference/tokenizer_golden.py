"""The tokenizer case of make_network_golden.py: prompt cleaning and token ids for many kinds of text."""

import hashlib
import html
import re

import ftfy
import sentencepiece
import torch
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from transformers import AutoTokenizer

MAX_LENGTH = 512

TEXTS = [
    "",
    " ",
    "A grey rabbit walking slowly through a green meadow with yellow flowers.",
    "A cinematic shot of two cyclists in bright jackets, 4k, highly detailed",
    "a",
    "The quick brown fox jumps over the lazy dog",
    "UPPER CASE WORDS AND MixedCase CamelCase",
    "   leading and trailing spaces   ",
    "double  spaces   and    more",
    "tabs\tand\nnew lines\r\nand\u00a0no-break\u2003em\u3000ideographic spaces",
    "punctuation: (a), [b], {c}; \"d\" 'e' - f_g / h\\i | j? k! l... m@n #o $p %q ^r &s *t +u =v ~w `x`",
    "numbers 0 1 12 123 1234567890 3.14159 1,000,000 16:9 2024-01-31 50%",
    "don't can't it's we're they'll o'clock",
    "well-known state-of-the-art black-and-white",
    "https://example.org/path?query=1&other=two#part",
    "une forêt baignée de lumière, près du café où ça sent le pain grillé",
    "Straßenbahn, große Wolken, schöne Häuser, füßelnd",
    "¡Qué día más bonito! ¿Dónde está el señor? Mañana.",
    "Zażółć gęślą jaźń, żółte kwiaty",
    "Kırmızı otobüs yağmurlu İstanbul ığdır",
    "Một chú thỏ xám bước ra khỏi hang",
    "Ένα γκρίζο κουνέλι στο λιβάδι",
    "серый кролик медленно идёт через зелёный луг, мягкий свет",
    "Кинематографичный кадр: чёрная лошадь бежит через туманный лес!",
    "电影镜头：一只灰色的兔子慢慢地走过下雨的城市街道。",
    "一位年轻的女子高兴地跑向夕阳下的港口，光线柔和，色彩温暖。",
    "龘靐齉爩麤",
    "映画のような灰色のウサギがゆっくり歩いている、雨の夜の街。",
    "ﾊﾝｶｸｶﾀｶﾅ と ＦＵＬＬＷＩＤＴＨ１２３",
    "회색 토끼가 초록 들판을 천천히 걸어간다",
    "لقطة سينمائية: أرنب رمادي يمشي ببطء في حقل أخضر.",
    "ארנב אפור הולך לאט",
    "एक सफेद खरगोश हरी घास पर",
    "กระต่ายสีเทาเดินช้าๆ",
    "A cat 🐱 and a dog 🐶 in the rain 🌧 ❤",
    "😀😂😍 emoji without spaces 🔥🔥",
    "👩‍👩‍👧‍👦 family, 🇯🇵 flag, 👍🏽 skin tone, ❤️ variation selector",
    "🦄🦖🪐 emoji that are not in the vocabulary",
    "mixed 中文 and English and русский and 日本語 text",
    "e\u0301 n\u0303 u\u0308 combining marks: cafe\u0301, man\u0303ana",
    "ligatures ﬁ ﬂ ﬃ and ½ ² ™ № ℃ Ⅷ ㍿",
    "Tom &amp; Jerry &lt;3 &quot;cartoon&quot; &#39;style&#39;",
    "double escaped &amp;amp; &amp;lt;b&amp;gt; &amp;quot;",
    "triple &amp;amp;amp; and &notanentity; and &copy &eacute; &#128512; &#x1F600; &nbsp;end",
    "100 &lt 200 &gt; 50 &ampersand; &#0; &#xD800; &#1114112;",
    "cafÃ© crÃ¨me brÃ»lÃ©e",
    "âœ” No problems, donâ€™t worry â€” really",
    "The Mona Lisa doesnÃƒÂ¢Ã¢â€šÂ¬Ã¢â€žÂ¢t have eyebrows.",
    "“curly quotes” and ‘single ones’ and „German“ and «French»",
    "dashes – en — em ‐ hyphen − minus … ellipsis",
    "zero\u200bwidth\u200cjoiners\u200d and soft\u00adhyphen and \ufeffbyte order mark",
    "control \x00\x01\x07\x1b[31mred\x1b[0m characters \x7f end",
    "line\u2028separator and paragraph\u2029separator and next\u0085line",
    "literal ▁ meta symbol and ▁▁ two",
    "literal pieces <0x41> <0xE2><0x82>",
    "special tokens in text: </s> and <pad> and <unk> and <extra_id_0>",
    "private use \ue000 and noncharacter \uffff and replacement \ufffd",
    "𝓜𝓪𝓽𝓱 𝔹𝕠𝕝𝕕 𝟙𝟚𝟛 and ℌ𝔢𝔩𝔩𝔬",
    "ASCII art: (╯°□°)╯︵ ┻━┻ ¯\\_(ツ)_/¯",
    "Bright tones, overexposed, static, blurred details, subtitles, style, works, paintings, images, static, overall gray, "
    "worst quality, low quality, JPEG compression residue, ugly, incomplete, extra fingers",
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的",
    "A very long word: " + "pneumonoultramicroscopicsilicovolcanoconiosis" * 3,
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "A long caption that is cut. " + "The camera pans from left to right over a rainy city street at night. " * 60,
    "很长的说明" + "一只灰色的兔子慢慢地走过开满黄花的绿色草地，" * 60,
]


def make_tokenizer_case(folder, tokenizer_folder, write_case):
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer_folder / "spiece.model"))
    eos = pieces.eos_id()
    entries, rows, masks = [], [], []
    for raw in TEXTS:
        cleaned = prompt_clean(raw)
        fixed = ftfy.fix_text(raw)
        unescaped = html.unescape(html.unescape(fixed)).strip()
        if re.sub(r"\s+", " ", unescaped).strip() != cleaned:
            raise SystemExit(f"the stages of prompt_clean do not give its result for {raw!r}")
        padded = tokenizer([cleaned], padding="max_length", max_length=MAX_LENGTH, truncation=True,
                           add_special_tokens=True, return_attention_mask=True, return_tensors="pt")
        row, mask = padded.input_ids[0], padded.attention_mask[0]
        ids = row[: int(mask.sum())].tolist()
        rows.append(row)
        masks.append(mask)
        slow = pieces.encode(cleaned)
        slow = slow[: MAX_LENGTH - 1] + [eos]
        entry = {"raw": raw, "after_ftfy": fixed, "cleaned": cleaned, "ids": ids, "sentencepiece_identical": slow == ids}
        if slow != ids:
            entry["sentencepiece_ids"] = slow
        if len(ids) == MAX_LENGTH:
            entry["truncated"] = True
        entries.append(entry)
    record = {
        "note": "prompt cleaning of WanPipeline and token ids at max_length 512",
        "tokenizer": "assets/tiny-wan/tokenizer",
        "spiece_model_sha256": hashlib.sha256((tokenizer_folder / "spiece.model").read_bytes()).hexdigest(),
        "vocabulary": len(tokenizer),
        "cleaning": "raw -> ftfy.fix_text -> after_ftfy -> html.unescape twice, strip, every run of white space to one "
                    "space, strip -> cleaned",
        "ids": "ids of the fast tokenizer, which is what WanPipeline uses, ending with eos (1) and cut to 512; row k of "
               "input_ids and attention_mask is entry k padded with 0 to 512",
        "sentencepiece_ids": "given where the SentencePiece library itself, plus eos, gives other ids: it spells unknown "
                             "characters in byte pieces, where the fast tokenizer gives unk (2) and one unk for a run of "
                             "them; the fast tokenizer also recognises special tokens and byte pieces written in the text",
        "identical_count": sum(e["sentencepiece_identical"] for e in entries),
        "entries": entries,
        "tolerance": {"type": "exact"},
    }
    tensors = {"input_ids": torch.stack(rows).int(), "attention_mask": torch.stack(masks).to(torch.uint8)}
    write_case(folder, "tokenizer", record, tensors)
