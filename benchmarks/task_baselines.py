"""What guessing, counting and linear models get on the data of `benchmarks/tasks.py`."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

Scored = tuple[str, dict[str, float]]
"""a way, and its scores"""


def linear_tags(train: Sequence[Sequence[str]], test: Sequence[Sequence[str]], seed: int) -> Iterator[Scored]:
    """F1 of names: tags drawn as often as they occur, each character's most frequent tag, and a logistic
    regression on the characters within two places and their pairs.

    Args:
        train, test: rows of words and tags, blanks between.
    """
    from seqeval.metrics import f1_score, precision_score, recall_score
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.linear_model import SGDClassifier

    sides = [[(text.split(" "), tags.split(" ")) for text, tags in rows] for rows in (train, test)]
    gold = [tags for _, tags in sides[1]]

    def scored(predicted: list[list[str]]) -> dict[str, float]:
        values = (score(gold, predicted) for score in (f1_score, precision_score, recall_score))
        return dict(zip(("f1", "precision", "recall"), map(float, values)))

    every = [tag for _, tags in sides[0] for tag in tags]
    draw = random.Random(seed)
    yield "tags drawn at random", scored([draw.choices(every, k=len(tags)) for tags in gold])
    counts: dict[str, Counter] = {}
    for text, tags in sides[0]:
        for word, tag in zip(text, tags):
            counts.setdefault(word, Counter())[tag] += 1
    usual = {word: found.most_common(1)[0][0] for word, found in counts.items()}
    yield "each character's usual tag", scored([[usual.get(w, "O") for w in text] for text, _ in sides[1]])

    def features(text: Sequence[str]) -> Iterator[list[str]]:
        padded = ["", "", *text, "", ""]
        for at in range(2, len(padded) - 2):
            found = [f"{place}{padded[at + place]}" for place in range(-2, 3)]
            yield found + [f"p{place}{padded[at + place]}{padded[at + place + 1]}" for place in range(-2, 2)]

    hasher = FeatureHasher(2**18, input_type="string")
    model = SGDClassifier(loss="log_loss", alpha=1e-6, max_iter=10, random_state=seed)
    model.fit(hasher.transform([x for text, _ in sides[0] for x in features(text)]), every)
    flat = iter(model.predict(hasher.transform([x for text, _ in sides[1] for x in features(text)])))
    yield "logistic regression on neighbours", scored([[str(next(flat)) for _ in tags] for tags in gold])


def linear_texts(
    train: Sequence[Sequence[str]], test: Sequence[Sequence[str]], seed: int
) -> Iterator[Scored]:
    """Accuracy and macro F1 of labels: the most frequent one, drawn ones, logistic regressions on bags of
    characters, and of characters and pairs.

    Args:
        train, test: rows of label and text.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, f1_score

    labels, texts = zip(*train)
    gold, asked = zip(*test)

    def scored(predicted: Sequence[str]) -> dict[str, float]:
        macro = f1_score(gold, predicted, average="macro", zero_division=0)
        return {"acc": float(accuracy_score(gold, predicted)), "macro_f1": float(macro)}

    yield "majority", scored([Counter(labels).most_common(1)[0][0]] * len(gold))
    yield "labels drawn at random", scored(random.Random(seed).choices(labels, k=len(gold)))
    for name, longest in (("characters", 1), ("characters and pairs", 2)):
        bag = TfidfVectorizer(analyzer="char", ngram_range=(1, longest), min_df=2, sublinear_tf=True)
        model = LogisticRegression(C=3.0, max_iter=200).fit(bag.fit_transform(texts), labels)
        yield f"logistic regression on {name}", scored(model.predict(bag.transform(asked)))


def ngram_choice(train: Sequence[Any], test: Sequence[Any]) -> Iterator[Scored]:
    """Accuracy of choices: chance, the most frequent place, the choice most of whose pairs of characters the
    text has.

    Args:
        train, test: documents of C3.
    """
    asked = [("".join(text), question) for text, questions, *_ in test for question in questions]
    places = Counter(q["choice"].index(q["answer"]) for _, questions, *_ in train for q in questions)
    gold = [question["choice"].index(question["answer"]) for _, question in asked]
    yield "chance", {"acc": sum(1 / len(question["choice"]) for _, question in asked) / len(asked)}
    usual = places.most_common(1)[0][0]
    yield "the usual place", {"acc": sum(place == usual for place in gold) / len(gold)}

    def share(choice: str, text: str) -> float:
        pairs = [choice[at : at + 2] for at in range(max(1, len(choice) - 1))]
        return sum(pair in text for pair in pairs) / len(pairs)

    right = 0
    for (text, question), place in zip(asked, gold):
        shares = [share(choice, text) for choice in question["choice"]]
        right += shares.index(max(shares)) == place
    yield "most pairs of characters in the text", {"acc": right / len(asked)}


def stretches(test: Sequence[dict[str, Any]], seed: int) -> Iterator[Scored]:
    """F1 and exact match of answers, as CMRC 2018 defines them: ten characters at random, the first ten, and
    the ten around which most characters of the question stand.

    Args:
        test: paragraphs with `context` and `qas`.
    """
    from uer.metrics import AnswerMatch

    draw, size = random.Random(seed), 10

    def near(context: str, question: str) -> str:
        held, reach = set(question), 30
        marks = [char in held for char in context]
        sums = [sum(marks[max(0, at - reach) : at + reach]) for at in range(len(context))]
        at = sums.index(max(sums))
        return context[max(0, at - size // 2) : at + size // 2]

    ways = {
        "ten characters at random": lambda text, _: text[(at := draw.randrange(len(text))) : at + size],
        "the first ten characters": lambda text, _: text[:size],
        "ten characters among the question's": near,
    }
    for name, way in ways.items():
        match = AnswerMatch("cmrc")
        for text in test:
            for entry in text["qas"]:
                gold = [answer["text"] for answer in entry["answers"]]
                match.update(way(text["context"], entry["question"]), gold)
        scores = match.scores()
        yield name, {"f1": scores["f1"], "em": scores["em"]}
