"""The words and sentence forms of the sample data; every list is ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """What reviews of one language are made of. `{n}` is a noun, `{d}` an adverb, `{a}` a judging word.

    Attributes:
        good, bad: judging words.
        nouns: what is judged.
        adverbs, good_adverbs, bad_adverbs: those that go with both sides, and with one only.
        forms, marked, negations: of a clause; `marked` takes the adverbs of one side.
        contrasts: `{x}` and `{y}`, of which `{y}` counts.
        remarks: sentences that judge nothing.
        verdicts: (good, bad) endings.
        order, closing: how the sentences of a longer review begin.
        comma, stop: between the parts of a review, and behind the last.
        beginnings: of texts to be continued by a language model.
    """

    name: str
    good: tuple[str, ...]
    bad: tuple[str, ...]
    nouns: tuple[str, ...]
    adverbs: tuple[str, ...]
    good_adverbs: tuple[str, ...]
    bad_adverbs: tuple[str, ...]
    forms: tuple[str, ...]
    marked: str
    negations: tuple[str, ...]
    contrasts: tuple[str, ...]
    remarks: tuple[str, ...]
    verdicts: tuple[tuple[str, str], ...]
    order: tuple[str, ...]
    closing: str
    comma: str
    stop: str
    beginnings: tuple[str, ...] = ()

    def join(self, parts: Sequence[str]) -> str:
        """The parts as one line of text."""
        text = self.comma.join(parts) + self.stop
        return text[0].upper() + text[1:]


def split(text: str, at: str | None = None) -> tuple[str, ...]:
    """The items of a list written as one string."""
    return tuple(item.strip() for item in text.split(at))


def opposites(text: str) -> tuple[tuple[str, str], ...]:
    """Pairs written as `good/bad`, parted by semicolons."""
    return tuple(tuple(pair.strip().split("/")) for pair in text.split(";"))


CHINESE = Words(
    name="zh",
    good=split(
        "动人 感人 迷人 用心 暖心 走心 贴心 舒心 细心 "
        "无瑕 耐看 耐读 老练 老辣 生动 平实 平稳 细致 细腻 巧妙 流畅 "
        "一流 深刻 直率 轻松 厚重 真实 扎实 丰满 通透 到位 地道 过瘾 过硬 出色 "
        "出彩 妥当 大气 灵气 文气 "
    ),
    bad=split(
        "烦人 吓人 气人 伤人 粗心 糟心 恶心 闹心 烦心 "
        "难看 难读 老套 老气 生硬 平庸 平淡 空洞 细碎 取巧 "
        "流俗 三流 刻板 草率 轻浮 松散 笨重 失真 不满 糟透 错位 霸道 俗套 过时 "
        "过火 逊色 出错 失当 乏味 小气 俗气 匠气 傻气"
    ),
    nouns=split(
        "情节 人物 文笔 对白 节奏 结构 开头 结尾 翻译 语言 故事 主角 配角 细节 描写 思想 题材 装帧 排版 插图 设定 悬念 "
        "伏笔 视角 口吻 叙述 比喻 心理 场景 气氛"
    ),
    adverbs=split("很 真 实在 颇 相当 特别 十分 确实 太 挺"),
    good_adverbs=split("格外 足够 尤为 颇为 极为 越发 着实 分外"),
    bad_adverbs=split("有点 过于 未免 略显 稍嫌 不免 显得 多少"),
    forms=split("{n}{d}{a} {n}{d}{a} {n}{a} 觉得{n}{d}{a} {n}写得{d}{a} {n}始终{a} 我看{n}{d}{a} {n}读来{a}"),
    marked="{n}{d}{a}",
    negations=split("{n}并不{a} {n}一点也不{a} {n}谈不上{a} {n}没那么{a} {n}算不上{a}"),
    contrasts=split(
        "虽然{x}，但是{y} 尽管{x}，不过{y} 都说{x}，其实{y} {x}，可是{y} 本以为{x}，没想到{y} 起初{x}，后来{y}"
    ),
    remarks=split(
        "周末在家读完 朋友送的书 地铁上读的 书店里翻到的 图书馆借来的 睡前读了几页 第二次读 听书友说起 读书会选的书 "
        "一口气看完 放在床头很久 出差路上看的 雨天的下午读的 老师推荐过 和孩子一起读 从二手店淘来的"
    ),
    verdicts=opposites(
        "值得一读/不值一读;推荐大家买/劝大家别买;我给五星/我给一星;想再读一遍/不想读第二遍;舍不得放下/读不下去;"
        "会送给朋友/会退给书店;没有白花钱/白白花了钱;期待下一本/再也不买了"
    ),
    order=("先说一点，{x}", "再说一点，{x}", "最后一点，{x}"),
    closing="总之，{x}",
    comma="，",
    stop="。",
    beginnings=("情节格外", "这本书的文笔有点", "周末在家读完，", "虽然结尾"),
)

ENGLISH = Words(
    name="en",
    good=split(
        "well made; well built; well cut; easy to hold; easy to clean; easy to carry; hard to break; hard to beat; "
        "free of flaws; free of noise; full of life; full of charm; fast enough; strong enough; worth the price; "
        "worth the wait; ahead of its time; up to the task; above average; beyond praise; smooth to touch; "
        "light to carry; quick to charge; slow to wear; gentle on the ears; kind to the eyes; built with care; "
        "made to last; made to please; a joy to use",
        ";",
    ),
    bad=split(
        "badly made; badly built; badly cut; hard to hold; hard to clean; hard to carry; easy to break; easy to lose; "
        "full of flaws; full of noise; short of life; short of charm; barely fast; barely strong; not worth the price; "
        "not worth the wait; behind its time; down to luck; below average; beyond repair; rough to touch; "
        "heavy to carry; slow to charge; quick to wear; harsh on the ears; cruel to the eyes; built in haste; "
        "made to fail; made to annoy; a pain to use",
        ";",
    ),
    nouns=split(
        "the screen, the case, the strap, the handle, the lid, the cable, the battery, the button, the lens, the seat, "
        "the zip, the motor, the fabric, the grip, the speaker, the keyboard, the hinge, the lamp, the wheel, the fan",
        ",",
    ),
    adverbs=split("really quite surely truly always still so simply"),
    good_adverbs=split("happily gladly wonderfully splendidly admirably pleasantly"),
    bad_adverbs=split("sadly unhappily annoyingly terribly awfully disappointingly"),
    forms=split(
        "{n} is {d} {a}; {n} is {a}; I find that {n} is {d} {a}; {n} has been {d} {a}; {n} feels {a}", ";"
    ),
    marked="{n} is {d} {a}",
    negations=split(
        "{n} is never {a}; {n} is hardly {a}; nobody would call {n} {a}; {n} is by no means {a}", ";"
    ),
    contrasts=split(
        "although {x}, {y}; they say {x}, yet {y}; at first {x}, but later {y}; {x}, but {y}; while {x}, {y}",
        ";",
    ),
    remarks=split(
        "bought it last month; a gift from my sister; it came on a Monday; we use it at work; my second order here; "
        "ordered it for a trip; it replaced an old one; a friend told me about it",
        ";",
    ),
    verdicts=opposites(
        "I would buy it again/I want my money back;five stars from me/one star from me;"
        "it stays on my desk/it went into the bin;tell your friends/warn your friends"
    ),
    order=("to begin with, {x}", "what is more, {x}", "last of all, {x}"),
    closing="all in all, {x}",
    comma=", ",
    stop=".",
)

GROUPS = {
    "plot": split("情节 结构 开头 结尾 故事 题材 设定 悬念 伏笔 节奏"),
    "people": split("人物 对白 主角 配角 心理 口吻"),
    "style": split("文笔 翻译 语言 细节 描写 思想 视角 叙述 比喻 场景 气氛"),
    "print": split("装帧 排版 插图"),
}
"""what the Chinese nouns are about"""

IDIOMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "津津有味": (split("孩子听得 我们读得 大家看得"), split("，还想再听一遍 ，忘了吃饭 ，一页也没有跳过")),
    "引人入胜": (
        split("故事从第一页起就 情节十分 开头写得"),
        split("，让人想知道后来怎样 ，一直读到天亮 ，越读越想读"),
    ),
    "爱不释手": (
        split("这本书让我 孩子对它 拿到以后就"),
        split("，走到哪里带到哪里 ，睡觉也放在身边 ，翻了一遍又一遍"),
    ),
    "昏昏欲睡": (
        split("读了几页就 讲得太慢，叫人 课上读它，全班"),
        split("，只好合上 ，茶也没有用 ，半天翻不过一页"),
    ),
    "虎头蛇尾": (
        split("开头很好，可惜 前半本精彩，后半本 写着写着就"),
        split("，结尾草草收场 ，最后几章像是赶出来的 ，没有写完的样子"),
    ),
    "千篇一律": (
        split("几个配角 这些故事 每一章的写法"),
        split("，换个名字也一样 ，读一篇就够了 ，没有一点变化"),
    ),
    "漏洞百出": (split("案子的推理 书里的设定 时间线"), split("，前后对不上 ，自己打自己的嘴 ，一问就倒")),
    "词不达意": (
        split("翻译常常 有些句子 译者的话"),
        split("，要看原文才懂 ，不知道在说什么 ，和原来的意思差得远"),
    ),
    "一气呵成": (
        split("全文 结尾三章写得 整本书"),
        split("，中间没有停顿 ，像一口气说完的 ，从头到尾不断线"),
    ),
    "东拼西凑": (
        split("材料 这本书是 内容都是"),
        split("来的，别处都看过 的，章节之间没有关系 出来的，没有自己的想法"),
    ),
    "画龙点睛": (
        split("最后一句 书名真是 那张插图"),
        split("，全书一下子活了 ，一句话说出了中心 ，没有它就平常了"),
    ),
    "平铺直叙": (split("叙述 作者从头到尾 传记写得"), split("，没有起伏 ，像一本账 ，从出生一直说到去世")),
}
"""idiom → what may stand before it, and behind it"""
