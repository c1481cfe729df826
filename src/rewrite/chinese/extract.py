#!/usr/bin/env python3
"""Makes `thesaurus.tsv`, the embedded Chinese thesaurus, from the Chinese Open Wordnet and WordNet 3.0.

    python3 extract.py omw-cmn.tab.gz /usr/share/wordnet && zstd -19 --ultra -f thesaurus.tsv
    # Debian: apt install wordnet-base zstd; the .tab file is the `cmn` part of the Open Multilingual Wordnet

Kept are words of 2 to 6 simplified Chinese characters. One line each, fields separated by tabs:

    S  word word ...  synonyms of equal length; no word stands in two groups
    A  word word      antonyms
    W  word           every other word; it only teaches where words end, so that no short word is found across

A candidate for S is two words of equal length in one synset that was met in WordNet's sense-tagged corpus; for A,
two words of equal length whose synsets have members that are antonyms in WordNet, both met there. Half of these
candidates do not fit Chinese prose ("responsibility" and "obligation", "quarrel" and "oral cavity"), and the file
has no counts to tell. So all candidates with words met in legal and medical texts were read, and only those in
SYNONYMS and ANTONYMS below are written. What these lists hold and the two sources do not is left out, with a note
on stderr. The order is sorted, so the file is the same wherever it is made.
"""
import gzip
import re
import sys
from collections import defaultdict
from itertools import combinations
from pathlib import Path

TAB, FOLDER = Path(sys.argv[1]), Path(sys.argv[2])
POS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
SENSE_TYPE = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}
CJK = re.compile(r"[\u4e00-\u9fff]+\Z")
TRADITIONAL = set("後於並麽麼徵")  # traditional characters that GB 2312 has too

# Groups that were read and found interchangeable in most sentences, one a line.
SYNONYMS = """
患者 病人
创办 创立
医生 大夫
发现 发觉
现在 目前
看法 见解
妇女 女性
处罚 惩罚
状况 情况
农村 乡村
孩子 小孩
维生素 维他命
合作 协作
疲劳 疲倦
侵害 侵犯
头痛 头疼
头晕 头昏
数量 数目
感冒 伤风
水肿 浮肿
便利 方便
签名 签字
妈妈 母亲
爸爸 父亲
互联网 因特网
答复 回答
灾害 灾难
罪犯 犯人
缺点 短处
几率 概率
捐赠 捐献
充足 足够
推测 猜测
早上 早晨
速度 速率
嗓子 喉咙
晕厥 昏厥
加快 加速
当时 那时
尸体 遗体
星期 礼拜
几个 数个
酒精 乙醇
甜食 甜点
眼睑 眼皮
担心 担忧
照片 相片
夜间 夜晚
饭馆 餐馆
照料 照顾
受害人 受害者
年轻人 青年人
颅骨 头骨
公里 千米
家畜 牲畜
早餐 早饭
午餐 午饭
信件 书信
小孩子 小孩儿
厘米 公分
谨慎 小心
木材 木料
遵从 听从
对照 对比
期刊 杂志
下午 午后
商店 店铺
仓促 匆忙
谈话 交谈
药店 药房
仪式 典礼
冬天 冬季
夏天 夏季
春季 春天
秋季 秋天
最初 起初
比赛 竞赛
情感 感情
部件 组件
力求 力争
回忆 回想
郊区 市郊
游客 游人
合计 总计
手臂 胳膊
争吵 吵架
狩猎 打猎
霎时 刹那 顷刻
前额 额头
参加者 参与者
汗液 汗水
煮沸 烧开
贫穷 贫困
腋下 腋窝
降价 减价
放火 纵火
面颊 脸颊
姿势 姿态
庆祝 庆贺
演讲 讲演
潜力 潜能
疤痕 伤疤
沥青 柏油
声誉 声望
胡须 胡子
傍晚 黄昏
杂草 野草
年终 年末
注释 注解
百分比 百分率
勺子 汤匙
房间 屋子
残忍 残酷
装满 填满
星期日 星期天
院子 庭院
眼泪 泪水
衬托 烘托
先锋 先驱
咖啡馆 咖啡厅
语气 语调
急迫 迫切
闪烁 闪耀
降雪 下雪
降雨 下雨
事例 实例
灰尘 尘土
手帕 手绢
犹豫 踌躇
劝告 忠告
半夜 午夜
友谊 友情
安心 放心
盘子 碟子
熔化 熔融
花岗岩 花岗石
斧头 斧子
矢量 向量
发芽 萌芽
奶酪 干酪 乳酪
叹气 叹息
后悔 懊悔
冷却剂 冷却液
火炬 火把
衬衣 衬衫
幽默 诙谐
实施 实行
违反 违背
包括 包含
加强 强化
希望 期望
促进 推动
遵守 遵循
提高 提升
维持 保持
运行 运转
缺乏 缺少
消除 去除
发烧 发热
储存 贮存
储藏 贮藏
有利于 有助于 有益于
特点 特征
允许 准许
妨碍 阻碍
平衡 均衡
大约 大概
类似 相似
搜索 搜寻
走廊 过道
恐吓 威吓
延期 推迟
装饰 装潢
器具 用具
住处 居所
"""

# Pairs that were read and found opposites that can stand for one another in most sentences.
ANTONYMS = """
增加 减少
下降 增长
减少 增长
停止 继续
停止 开始
开始 结束
接受 拒绝
出生 死亡
分散 集中
年轻人 老年人
增大 缩小
加速 减速
晚上 白天
夜间 白天
夜间 日间
出席 缺席
失败 成功
失败 胜利
干燥 潮湿
舒适 不适
前面 后面
直线 曲线
男人 女人
富裕 贫困
富裕 贫穷
增值 贬值
升值 贬值
右边 左边
向右 向左
幸运 不幸
变厚 变薄
雇主 雇员
记得 忘记
盈余 赤字
阳极 阴极
光明 黑暗
起床 睡觉
上半场 下半场
喜剧 悲剧
国王 女王
进化 退化
哥哥 姐姐
弟弟 妹妹
丈夫 妻子
母亲 父亲
妈妈 爸爸
快乐 痛苦
服从 违抗
遵从 违抗
和平 战争
"""


def lines(name):
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("  "):
            yield line


def is_simplified(word):
    try:
        word.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return CJK.match(word) is not None and not TRADITIONAL & set(word)


synset_ids = {}  # (lemma, pos) -> synset offsets in order of rank
for name, pos in POS.items():
    for line in lines(f"index.{name}"):
        field = line.split()
        synset_ids[field[0], pos] = field[6 + int(field[3]):]

met = set()  # synsets met in the tagged corpus
for line in lines("cntlist.rev"):
    key, rank, _ = line.split()
    lemma, sense = key.split("%")
    pos = SENSE_TYPE[sense[0]]
    offsets = synset_ids.get((lemma, pos), [])
    if int(rank) <= len(offsets):
        met.add((offsets[int(rank) - 1], pos))

opposed = set()  # synsets with members that are antonyms
for name, pos in POS.items():
    for line in lines(f"data.{name}"):
        field = line.split(" | ")[0].split()
        rest = field[4 + 2 * int(field[3], 16):]
        for i in range(int(rest[0])):
            symbol, target, target_pos, _ = rest[1 + 4 * i:5 + 4 * i]
            if symbol == "!":
                opposed.add(((field[0], pos), (target, target_pos)))

synsets, words = defaultdict(set), set()
with gzip.open(TAB, "rt", encoding="utf-8") as file:
    for line in file:
        field = line.rstrip("\n").split("\t")
        if len(field) == 3 and field[1].endswith(":lemma") and 2 <= len(field[2]) <= 6 and is_simplified(field[2]):
            offset, pos = field[0].split("-")
            synsets[offset, pos].add(field[2])
            words.add(field[2])

candidates = {"S": set(), "A": set()}
for synset in met:
    for a, b in combinations(sorted(synsets.get(synset, ())), 2):
        if len(a) == len(b):
            candidates["S"].add((a, b))
for one, other in opposed:
    if one in met and other in met:
        for a in synsets.get(one, ()):
            for b in synsets.get(other, ()):
                if len(a) == len(b) and a != b:
                    candidates["A"].add((min(a, b), max(a, b)))

out, used, grouped = [], set(), set()
for line in sorted(filter(None, SYNONYMS.splitlines())):
    group = line.split()
    linked = [a for a in group if any((min(a, b), max(a, b)) in candidates["S"] for b in group)]
    for word in set(group) - set(linked):
        print(f"left out: {word} of {line}", file=sys.stderr)
    for word in set(linked) & grouped:
        sys.exit(f"{word} stands in two groups")
    grouped |= set(linked)
    if linked:
        out.append("\t".join(["S", *linked]))
for line in sorted(filter(None, ANTONYMS.splitlines())):
    a, b = line.split()
    if (min(a, b), max(a, b)) in candidates["A"]:
        out.append("\t".join(["A", a, b]))
        used |= {a, b}
    else:
        print(f"left out: {line}", file=sys.stderr)
out += ["\t".join(["W", word]) for word in sorted(words - used - grouped)]
Path("thesaurus.tsv").write_text("\n".join(out) + "\n", encoding="utf-8")
