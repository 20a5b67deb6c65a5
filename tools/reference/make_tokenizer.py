"""Train the small SentencePiece tokenizer of assets/tiny-wan/tokenizer.

    python make_tokenizer.py --out assets/tiny-wan/tokenizer

The corpus is generated from the word lists below: video captions in several languages. The model has the layout of
the mT5/UMT5 vocabularies: unigram, pad 0, eos 1, unk 2, then the 256 byte pieces, then the text pieces.
"""

import argparse
import io
import itertools
import json
import pathlib
import random
import shutil

import sentencepiece
from transformers import T5TokenizerFast

PIECES = 2600
EXTRA_IDS = 100  # sentinel tokens that T5 appends to the vocabulary

ENGLISH = dict(
    style=["A cinematic shot of", "A close-up of", "An aerial view of", "Slow motion footage of", "A hand-drawn animation of",
           "A black and white film of", "A time-lapse of", "Handheld video of", "A wide shot of", "A photorealistic render of",
           "A watercolor painting of", "Documentary footage of", "A low-angle shot of", "A drone flying over", "A macro video of"],
    subject=["a grey rabbit", "two cyclists in bright jackets", "an old fisherman", "a young woman with curly hair",
             "a red double-decker bus", "a golden retriever puppy", "a man wearing a striped tie", "three children",
             "a flock of white birds", "a small wooden boat", "a robot with glowing blue eyes", "a tabby cat",
             "a street musician playing the violin", "a black horse", "an astronaut", "a chef in a busy kitchen",
             "a hummingbird", "a steam train", "a ballet dancer", "a panda eating bamboo", "the camera operator",
             "a car on an empty highway", "a ceramic teapot", "a glass of orange juice", "a knight in silver armour"],
    action=["walking slowly through", "running across", "looking out over", "waiting quietly in", "dancing in the middle of",
            "turning around and smiling at", "jumping over puddles in", "driving fast along", "sleeping peacefully beside",
            "floating above", "disappearing into", "emerging from", "waving towards", "climbing up", "sitting next to"],
    place=["a rainy city street at night", "a green meadow with yellow flowers", "the harbour at sunset", "a snowy mountain pass",
           "a crowded market square", "an old brick house", "a forest covered in morning fog", "the desert under a starry sky",
           "a modern office building", "a quiet library", "the surface of the moon", "a sunlit kitchen window",
           "a stone bridge over a river", "a playground in autumn", "the ocean during a thunderstorm"],
    end=["", ", 4k, highly detailed", ", soft warm light, shallow depth of field", ". The background is out of focus.",
         ", shot on 35mm film", ". The camera pans from left to right.", ", golden hour, film grain", ". Leaves fall gently.",
         ", in the style of the 1970s", ". It begins to rain; people open their umbrellas.", ", 16 fps, 832x480",
         ". \"What a beautiful day!\" she says.", " (no text, no watermark)", " & colourful lights", " - ultra realistic"],
)
CHINESE = dict(
    style=["电影镜头：", "特写镜头，", "航拍画面，", "慢动作视频，", "黑白老电影，", "水彩画风格，", "高清摄影，", "动画短片，"],
    subject=["一只灰色的兔子", "两个骑自行车的人", "一位年轻的女子", "一条小狗", "一辆红色的公共汽车", "一个宇航员", "一只大熊猫",
             "一群白鸟", "一位老渔夫", "几个孩子", "一匹黑马", "一艘木船"],
    action=["慢慢地走过", "正在穿过", "安静地坐在", "高兴地跑向", "缓缓飞越", "在雨中跳舞，背景是", "回头看着", "停在"],
    place=["下雨的城市街道", "开满黄花的绿色草地", "夕阳下的港口", "积雪的山路", "热闹的集市", "晨雾笼罩的森林", "星空下的沙漠", "古老的石桥"],
    end=["。", "，画面清晰，细节丰富。", "，光线柔和，色彩温暖。", "，镜头从左向右移动。", "，背景虚化。", "！"],
)
JAPANESE = dict(
    style=["映画のような", "クローズアップで、", "空撮映像、", "スローモーションの", "白黒の"],
    subject=["灰色のウサギが", "二人の自転車に乗った人が", "若い女性が", "子犬が", "赤いバスが", "宇宙飛行士が", "パンダが", "黒い馬が"],
    action=["ゆっくり歩いている、", "走り抜ける、", "静かに座っている、", "踊っている、", "振り返る、"],
    place=["雨の夜の街", "黄色い花の草原", "夕焼けの港", "雪山の道", "朝霧の森", "星空の砂漠"],
    end=["。", "、高画質、細部まで鮮明。", "、柔らかい光。", "！"],
)
RUSSIAN = dict(
    style=["Кинематографичный кадр:", "Крупный план:", "Вид с воздуха:", "Замедленная съёмка:", "Чёрно-белый фильм:"],
    subject=["серый кролик", "двое велосипедистов", "молодая женщина", "маленький щенок", "красный автобус", "космонавт", "чёрная лошадь"],
    action=["медленно идёт через", "бежит через", "тихо смотрит на", "останавливается перед", "пролетает над"],
    place=["дождливую улицу ночью", "зелёный луг", "старый каменный мост", "заснеженные горы", "туманный лес", "пустую площадь"],
    end=[".", ", мягкий свет, высокая детализация.", ", камера движется слева направо.", "!"],
)
ARABIC = dict(
    style=["لقطة سينمائية:", "لقطة قريبة:", "منظر جوي:", "تصوير بطيء:"],
    subject=["أرنب رمادي", "امرأة شابة", "كلب صغير", "حافلة حمراء", "رائد فضاء", "حصان أسود"],
    action=["يمشي ببطء في", "يركض عبر", "ينظر إلى", "يجلس بهدوء في"],
    place=["شارع ممطر ليلا", "حقل أخضر", "ميناء عند الغروب", "غابة ضبابية", "صحراء تحت النجوم"],
    end=[".", "، ضوء ناعم.", "، جودة عالية.", "؟"],
)
EUROPEAN = [
    "Un lapin gris sort de son terrier et s'étire près d'une forêt baignée de lumière.",
    "Deux cyclistes traversent la ville à l'aube ; le café vient d'ouvrir, ça sent le pain grillé.",
    "Ein grauer Hase läuft über die grüne Wiese, während große Wolken vorüberziehen.",
    "Die Straßenbahn fährt an schönen alten Häusern vorbei, füßelnde Kinder überqueren die Brücke.",
    "Una niña pequeña corre por la montaña con su perro, ¡qué día más bonito!",
    "¿Dónde está el señor de la corbata? Está sentado al lado de la ventana, mañana saldrá el sol.",
    "Um coelho cinzento acorda de manhã, a luz do verão é suave e não há ninguém à vista.",
    "Mała dziewczynka biegnie przez łąkę, żółte kwiaty kołyszą się na wietrze.",
    "Kırmızı bir otobüs yağmurlu şehir caddesinde ağır ağır ilerliyor.",
    "Một chú thỏ xám bước ra khỏi hang vào buổi sáng đẹp trời.",
    "Ένα γκρίζο κουνέλι περπατά αργά στο πράσινο λιβάδι.",
    "회색 토끼가 초록 들판을 천천히 걸어간다. 부드러운 빛, 선명한 화질.",
    "एक सफेद खरगोश हरी घास पर धीरे-धीरे चल रहा है।",
    "ארנב אפור הולך לאט בשדה ירוק.",
    "กระต่ายสีเทาเดินช้าๆ ในทุ่งหญ้าสีเขียว",
]
# Loose words widen the vocabulary beyond what the sentence tables contain.
WORDS = """
able above accent across actor adult afternoon air airplane alley ancient angle animal ankle apple apron arch arena arm
arrow artist ash athlete atmosphere attic audience autumn avenue baby balcony ball balloon band bank banner bark barn basket
beach beam bear beard bed bee bell belt bench bicycle bird blanket blossom blue blur board boat body book boot border bottle
bottom boulder bowl box boy branch brass bread breeze brick bridge bright broken bronze broom brown brush bubble bucket
building bull burn butter butterfly button cabin cable cake camera camp candle canvas canyon cap cape car card carpet carry
cart castle cat cave ceiling center chain chair chalk chase cheese cherry chest chicken child chimney church circle city
clay clean clear cliff climb clock close cloth cloud clown coast coat coffee coin cold collar color column comet concert
contrast cook copper coral corner costume cotton couch country couple court cow crane cream creek crowd crown crystal cup
curtain curve daisy dance dark dawn deck deep deer desk detail diamond dinner dirt dish distance dog doll dolphin door dot
dragon drama dream dress drift drink drive drop drum dry duck dusk dust eagle ear earth east edge egg elbow elder elephant
empty engine evening eye fabric face factory fall family fan farm father feather fence fern festival field figure film
finger fire fireplace fish flag flame flash flat flight float floor flow flower fly focus foam fog foot footage forest fork
fountain fox frame fresh friend frog front frost fruit full fur game garden gate gentle ghost giant girl glass glove glow
goat gold grain grand grape grass gravel gray great green ground group guitar hair half hall hammer hand happy harbor hat
hawk head heart heat heavy helmet hen high hill hold hole home honey hood horizon horn horse hospital hot hotel hour house
huge human hunter ice image indoor ink insect inside iron island ivory jacket jar jeans jewel jungle kettle key king kitchen
kite knee knife ladder lady lake lamp land lane lantern laptop large laugh lawn layer leaf leather left leg lemon lens
letter lettuce level light lightning lily line lion lip little lizard log long loose lotus loud machine magic man map maple
marble market mask meadow meal metal middle milk mill mirror mist model modern moment monkey monster moon morning moss
mother motion motor mountain mouse mouth movie mud museum music narrow nature near neck needle neon nest net night noise
north nose ocean office oil old olive open orange orchard orchestra outdoor oven owl paint palace pale palm pan paper parade
park parrot particle party path pattern pavement pearl peak pencil penguin people pepper person petal phone photo piano
picture pier pig pillow pilot pine pink pipe pirate pizza plain planet plant plate platform plaza pocket pond pool porch
port portrait pot pottery powder prairie pretty princess profile pumpkin puppet purple queen quick radio rail rain rainbow
ranch raven reading realistic red reef reflection ribbon rice rider ridge right ring ripple river road rock rocket roof room
rooster root rope rose round rubber ruin sail sailor salad salt sand satellite scarf scene school science scooter screen
sea season seat shadow shallow shark sharp sheep shelf shell ship shirt shoe shop shore short shoulder side signal silk
silver singer skate skin sky skyline sled small smile smoke smooth snail snake snow soap soccer sofa soft soil soldier song
soup south space spark sparrow speed spider spiral spoon sport spray spring square squirrel stadium staff stage stair stand
star station statue steam steel stem step stone store storm stream street string strong studio subway sugar suit summer sun
surf swan sweater sweep swim sword table tail tall tank tea teacher tear temple tent texture theater thin thread throne
tiger timber tiny toast tomato tool torch tower town toy track tractor trail train tree truck trumpet tunnel turtle twilight
umbrella uniform universe upper valley van vapor vase velvet vendor vessel view village vine violet vivid volcano wagon
walk wall warm wash water waterfall wave wax weather wedding west whale wheat wheel whisper white wide wild wind window wine
wing winter wire witch wolf woman wood wool worker world yard yellow young zebra zoom
""".split()
ENDINGS = ["", "", "", "s", "ing", "ed", "er", "ly", "y"]
# The negative prompts that are commonly used with Wan: their characters should not be unknown.
NEGATIVE = [
    "Bright tones, overexposed, static, blurred details, subtitles, style, works, paintings, images, static, overall gray, "
    "worst quality, low quality, JPEG compression residue, ugly, incomplete, extra fingers, poorly drawn hands, poorly "
    "drawn faces, deformed, disfigured, misshapen limbs, fused fingers, still picture, messy background, three legs, many "
    "people in the background, walking backwards",
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，"
    "多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走",
]
EMOJI = "😀 😂 😍 🐶 🐱 🐰 🚲 🚗 🌧 ☀ ☔ ❤ ✨ 🎬 🎥 📷 🔥 👍 🎉 🌊 ✔ ★ → … – — “ ” ‘ ’ « » € £ ° × ½".split()


def generate_corpus(seed=20):
    rng = random.Random(seed)
    lines = []
    for table, count, separator in [(ENGLISH, 6000, " "), (CHINESE, 1500, ""), (JAPANESE, 700, ""),
                                    (RUSSIAN, 800, " "), (ARABIC, 500, " ")]:
        combinations = list(itertools.product(*table.values())) if separator == "" or len(table["style"]) < 10 else None
        for _ in range(count):
            parts = rng.choice(combinations) if combinations else [rng.choice(v) for v in table.values()]
            lines.append(separator.join(parts[:4]) + parts[4])
    for _ in range(12):
        lines += EUROPEAN + NEGATIVE
    for _ in range(1500):
        lines.append(" ".join(rng.choice(WORDS) + rng.choice(ENDINGS) for _ in range(8)))
    for _ in range(400):
        lines.append(" ".join(rng.choice(EMOJI) for _ in range(4)) + f" {rng.randrange(3000)} {rng.random() * 100:.2f}%")
    # Single letters, so that every ordinary character has a piece of its own.
    printable = "".join(chr(c) for c in range(33, 127))
    lines += [" ".join(printable), printable, "áàâäãåçéèêëíìîïñóòôöõøúùûüýÿæœßÁÀÂÄÃÅÇÉÈÊËÍÑÓÖØÚÜ"] * 4
    rng.shuffle(lines)
    return lines


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    out = pathlib.Path(args.out)
    if out.exists():
        shutil.rmtree(out)  # an older tokenizer.json would win over the new model
    out.mkdir(parents=True)

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(generate_corpus()),
        model_writer=model,
        model_type="unigram",
        vocab_size=PIECES,
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc",
        split_digits=True,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        pad_piece="<pad>",
        eos_piece="</s>",
        unk_piece="<unk>",
        num_threads=1,
        minloglevel=1,
    )
    (out / "spiece.model").write_bytes(model.getvalue())

    tokenizer = T5TokenizerFast.from_pretrained(out, extra_ids=EXTRA_IDS, model_max_length=512)
    tokenizer.save_pretrained(out)
    special = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    (out / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    print(f"{len(tokenizer)} tokens, {PIECES} of them SentencePiece pieces")


if __name__ == "__main__":
    main()
