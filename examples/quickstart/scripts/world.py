"""The small world that the quickstart's base model knows: people who own things, get and lose them, and go to places.

`document(rng)` gives a text for pretraining: stories followed by plain statements of what is true at their end. It holds questions (people ask
each other things) and headings, but never an answer to an instruction: that is what fine-tuning teaches. `problem(rng)` gives one such
instruction with its answer, in the format of math_10k.json.
"""

NAMES = "Tom Mia Anna Ben Lily Max Sam Zoe Leo Ella Jack Ruby Omar Nina Hugo Ivy Paul Rosa Finn Emma Noah Lucy Carl Maya".split()
ITEMS = [("apple", "apples"), ("pen", "pens"), ("book", "books"), ("coin", "coins"), ("card", "cards"), ("egg", "eggs"), ("ball", "balls"),
         ("cup", "cups"), ("stamp", "stamps"), ("shell", "shells"), ("key", "keys"), ("toy", "toys"), ("plum", "plums"), ("ring", "rings"),
         ("stone", "stones"), ("flower", "flowers")]
PLACES = "kitchen garden school park shop house river market library forest".split()
WEATHER = ["The sun is warm.", "It is raining.", "The wind is cold.", "It is a quiet day.", "The sky is blue.", "It is late in the evening."]
GAIN = ["buys", "finds", "gets", "makes", "wins"]
LOSE = ["loses", "sells", "breaks", "drops", "hides"]
LARGEST = 30
QUESTION_BEFORE_HEADING = 0.5


def count(n, item):
    return f"{n} {item[0] if n == 1 else item[1]}"


class Story:
    """Sentences, and what is true after them: `owned[name, item]`, and how it came about: `sums[name, item]`, such as `12-5=7, 7+4=11`."""

    def __init__(self, rng, people, kinds):
        self.rng, self.owned, self.sums, self.sentences = rng, {}, {}, []
        self.people = rng.sample(NAMES, people)
        self.items = rng.sample(ITEMS, kinds)

    def begin(self):
        pairs = [(p, i) for p in self.people for i in self.items]
        self.rng.shuffle(pairs)
        for name, item in pairs[: self.rng.randint(2, min(3, len(pairs)))]:
            self.owned[name, item] = n = self.rng.randint(1, 15)
            self.sums[name, item] = []
            self.say(f"{name} has {count(n, item)}.")

    def say(self, sentence):
        self.sentences.append(sentence)

    def change(self, owner, n):
        before = self.owned[owner]
        self.owned[owner] = before + n
        self.sums[owner].append(f"{before}{'+' if n > 0 else '-'}{abs(n)}={before + n}")

    def event(self):
        kind = self.rng.random()
        if kind < 0.12:
            self.say(f"{self.rng.choice(self.people)} goes to the {self.rng.choice(PLACES)}.")
            return
        if kind < 0.2:
            self.say(self.rng.choice(WEATHER))
            return
        name, item = self.rng.choice(list(self.owned))
        have = self.owned[name, item]
        givers = [p for p in self.people if p != name and (p, item) in self.owned]
        if kind < 0.4 and have > 1 and givers:
            to, n = self.rng.choice(givers), self.rng.randint(1, min(9, have - 1))
            if self.owned[to, item] + n <= LARGEST:
                self.change((name, item), -n)
                self.change((to, item), n)
                self.say(f"{name} gives {count(n, item)} to {to}.")
        elif kind < 0.7 or have < 3:
            n = self.rng.randint(1, 9)
            if have + n <= LARGEST:
                self.change((name, item), n)
                self.say(f"{name} {self.rng.choice(GAIN)} {n} more {item[0] if n == 1 else item[1]}.")
        else:
            n = self.rng.randint(1, min(9, have - 1))
            self.change((name, item), -n)
            self.say(f"{name} {self.rng.choice(LOSE)} {count(n, item)}.")

    def facts(self):
        """Every (question, statement, number) that can be asked of the story's end."""
        found = []
        for (name, item), n in self.owned.items():
            sums = ", ".join(self.sums[name, item]) or str(n)
            found.append((f"How many {item[1]} does {name} have now?", f"The {item[1]} of {name} are now {sums}.", n))
        for item in self.items:
            owners = [p for p in self.people if self.sums.get((p, item)) == []]
            if len(owners) == 2:
                a, b = owners
                x, y = self.owned[a, item], self.owned[b, item]
                found.append((f"How many {item[1]} do {a} and {b} have together?", f"The {item[1]} of {a} and {b} together are {x}+{y}={x + y}.", x + y))
        return found


def story(rng, events, remarks=False):
    s = Story(rng, rng.randint(1, 2), rng.randint(1, 2))
    while len(s.people) * len(s.items) < 2:
        s = Story(rng, rng.randint(1, 2), rng.randint(1, 2))
    s.begin()
    for _ in range(events):
        s.event()
        if remarks and rng.random() < 0.35:
            s.say(rng.choice(s.facts())[1])
    return s


def document(rng):
    """One pretraining document."""
    s = story(rng, rng.randint(0, 4), remarks=rng.random() < 0.5)
    form = rng.random()
    facts = s.facts()
    rng.shuffle(facts)
    end = " ".join(f[1] for f in facts[: rng.randint(1, 4)])
    if form < 0.35:
        # people ask, and the teller of the story goes on with what they asked for, or does not
        for question, statement, _ in facts[: rng.randint(1, 3)]:
            told = rng.choice([statement, statement, statement, "Nobody answers.", "Nobody knows."])
            s.say(f'"{question}" asks {rng.choice(NAMES)}. {told}')
        return " ".join(s.sentences)
    body = " ".join(s.sentences)
    if form < 0.65:
        return f"{body} {end}"
    if form < 0.8:
        return f"{body}\n\n{end}"
    title, after = rng.choice(["Story", "Text", "Instruction", "A day"]), rng.choice(["Summary", "Ending", "Notes", "Response"])
    if rng.random() < QUESTION_BEFORE_HEADING:
        body = f"{body} {facts[0][0]}"
    if after == "Response":
        # this heading begins another story: the base does not know what a response is
        end = " ".join(story(rng, rng.randint(0, 2)).sentences)
    return f"### {title}:\n{body}\n\n### {after}:\n{end}"


def problem(rng):
    """One problem in the format of math_10k.json: instruction, input, output, answer."""
    while True:
        s = story(rng, rng.randint(1, 3))
        facts = s.facts()
        if len(facts) < 2:
            continue
        question, statement, n = rng.choice(facts)
        return {"instruction": " ".join(s.sentences) + " " + question, "input": "", "output": statement, "answer": str(n)}
