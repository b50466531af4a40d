"""An attention mask that hides what it should show."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code, Name, Operation, Value
from stethoscope.facts.masks import Triangle, is_very_low, triangle_of
from stethoscope.facts.origins import called
from stethoscope.facts.things import followed, literal
from stethoscope.facts.uses import readings_of
from stethoscope.rules.lines import line_of, place_in
from stethoscope.rules.sites import code

_HIDES = {
    "torch.nn.MultiheadAttention": ((5, "attn_mask"),),
    "torch.nn.TransformerEncoder": ((1, "mask"),),
    "torch.nn.TransformerEncoderLayer": ((1, "src_mask"),),
    "torch.nn.TransformerDecoder": ((2, "tgt_mask"),),
    "torch.nn.TransformerDecoderLayer": ((2, "tgt_mask"),),
    "torch.nn.Transformer": ((2, "src_mask"), (3, "tgt_mask")),
}
"""Layers for which True in a mask means: do not look there; position and name of it."""
_PADDING = ("key_padding_mask", "src_key_padding_mask", "tgt_key_padding_mask", "memory_key_padding_mask")
_SHOWS = "torch.nn.functional.scaled_dot_product_attention"
_RIGHT = "mask = torch.triu(torch.ones(n, n, dtype=torch.bool), diagonal=1)"


class AttentionMaskInverted(Rule):
    """An attention mask means the opposite of what the attention takes it for.

    ## What it sees
    A triangle of ones as the mask of an attention. In `nn.MultiheadAttention`, the transformer layers and
    `masked_fill(mask, -inf)` True hides a position; in `scaled_dot_product_attention` it shows one. And a padding mask
    `tokens != pad`, which hides the words and shows the padding.
    ## Why it hurts
    Each position sees what follows it and not what came before: the model copies the answer, or learns nothing. Where a
    whole row is hidden, the softmax over nothing is NaN. A triangle of numbers is added to the scores.
    ## How to fix it
    For layers: `torch.triu(torch.ones(n, n, dtype=torch.bool), diagonal=1)`. For `scaled_dot_product_attention`:
    `is_causal=True`. For padding: `tokens == pad`.
    ## When it is not a fault
    A model that is to read backwards. Masks that are not visibly a triangle of ones are not judged.
    ## Sources
    PyTorch documentation, `torch.nn.MultiheadAttention` (`attn_mask`, `key_padding_mask`) and
    `scaled_dot_product_attention`. `future-leakage` sees in a model that outputs depend on later positions.
    """

    on_trial = True
    explains = ("future-leakage", "numerical-instability", "loss-not-finite", "underfitting", "no-gain-over-baseline")

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at the masks that attentions are given."""
        layers = bool(file.calls_of(*_HIDES))
        for call in file.calls:
            if call.name == _SHOWS:
                mask = call.argument(3, "attn_mask")
                yield from self._judge(file, mask, triangle_of(file, mask), hides=False)
            elif call.name in (".masked_fill", ".masked_fill_"):
                mask = call.argument(0, "mask")
                if is_very_low(file, call.argument(1, "value")) and _is_softmaxed(file, call):
                    found = triangle_of(file, mask)
                    yield from self._judge(file, mask, found if found and found.is_truth else None, hides=True)
            elif layers and call.receiver is not None:
                layer = called(file, call)
                for place in _HIDES.get(layer.name, ()) if layer.kind == "module" else ():
                    mask = call.argument(*place)
                    yield from self._judge(file, mask, triangle_of(file, mask), hides=True)
                if layer.kind == "module":
                    yield from self._judge_padding(file, call)

    def _judge(self, file: Code, mask: Value | None, found: Triangle | None, *, hides: bool) -> Iterator[Finding]:
        if found is None or mask is None:
            return
        line = line_of(file, found.made.at)
        if not found.is_truth:
            if found.marks_past or found.marks_future:
                yield self._report(
                    file, mask, "a mask of zeros and ones hides nothing",
                    Evidence(f"values of the mask made on {line}", "0 and 1, added to the scores", "True and False"),
                    "A mask of numbers is added to the scores of attention: 1 more or less hides no position.",
                    hides,
                )  # fmt: skip
        elif (hides and found.marks_past) or (not hides and found.marks_future):
            yield self._report(
                file, mask, "the mask hides the past and shows the future",
                Evidence(f"what True means to the attention that is given the mask made on {line}",
                         "hidden, 0 weight" if hides else "shown",
                         "True where j > i" if hides else "True where j <= i", "row i, column j"),
                "The mask marks " + ("what a position may look at" if hides else "what follows a position")
                + ", and this attention " + ("hides" if hides else "shows") + " what is marked.",
                hides,
            )  # fmt: skip
        elif hides and found.marks_itself_and_future:
            yield self._report(
                file, mask, "the mask hides each position from itself, too",
                Evidence(f"positions that row 0 of the mask made on {line} leaves visible", 0, 1),
                "Without `diagonal=1` the triangle holds its diagonal: the first position may look at nothing.",
                hides,
            )  # fmt: skip

    def _judge_padding(self, file: Code, call: Call) -> Iterator[Finding]:
        for name in _PADDING:
            mask = call.keyword(name)
            found, _ = followed(file, mask)
            if mask is None or not isinstance(found, Operation) or found.operator != "!=":
                continue
            tokens = found.operands[0]
            if not isinstance(tokens, Name) or not _is_embedded(file, tokens):
                continue
            yield self._report(
                file, mask, f"`{name}` hides the words and shows the padding",
                Evidence(f"what True means in `{name}`, made on {line_of(file, found.at)}", "hidden, 0 weight",
                         "True where there is padding"),
                "The mask is True where there is a word, and this layer leaves out what is True.", True,
                f"{tokens.name} == {file.text(found.operands[1].at)}",
            )  # fmt: skip

    def _report(
        self, file: Code, mask: Value, title: str, evidence: Evidence, cause: str, hides: bool, right: str = ""
    ) -> Finding:
        fix = right or (_RIGHT if hides else "F.scaled_dot_product_attention(q, k, v, is_causal=True)")
        return self.finding(
            title,
            sureness=Sureness.CERTAIN,
            place=place_in(file, mask.at),
            evidence=[evidence],
            cause=cause,
            fixes=["Write:\n" + code(fix)],
            unless="the model is to read backwards." if "past" in title else "",
        )

    bad_code = {
        "layers": """
            class Net(nn.Module):
                def __init__(self, n):
                    super().__init__()
                    self.attention = nn.MultiheadAttention(64, 4, batch_first=True)
                    self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4), 2)
                    self.register_buffer("mask", torch.tril(torch.ones(n, n)).bool())

                def forward(self, x):
                    n = x.size(1)
                    x, _ = self.attention(x, x, x, attn_mask=self.mask[:n, :n])  # bad
                    x = self.encoder(x, mask=torch.tril(torch.ones(n, n)))  # bad
                    return self.encoder(x, torch.triu(torch.ones(n, n)).bool())  # bad
            """,
        "the function": """
            def attend(q, k, v, n):
                mask = torch.triu(torch.ones(n, n, dtype=torch.bool), diagonal=1)
                return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # bad
            """,
        "by hand": """
            def attend(q, k, v, n):
                scores = q @ k.transpose(-2, -1)
                seen = torch.tril(torch.ones(n, n)) == 1
                scores = scores.masked_fill(seen, float("-inf"))  # bad
                return F.softmax(scores, dim=-1) @ v
            """,
        "padding": """
            class Net(nn.Module):
                def __init__(self, words):
                    super().__init__()
                    self.embed = nn.Embedding(words, 64, padding_idx=0)
                    self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4), 2)

                def forward(self, tokens):
                    mask = tokens != 0
                    return self.encoder(self.embed(tokens), src_key_padding_mask=mask)  # bad
            """,
    }
    good_code = {
        "right ones": """
            class Net(nn.Module):
                def __init__(self, words, n):
                    super().__init__()
                    self.embed = nn.Embedding(words, 64, padding_idx=0)
                    self.attention = nn.MultiheadAttention(64, 4, batch_first=True)
                    self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4), 2)
                    self.register_buffer("bias", torch.tril(torch.ones(n, n)).view(1, 1, n, n))

                def forward(self, tokens, scores):
                    n = tokens.size(1)
                    x = self.embed(tokens)
                    ahead = torch.triu(torch.ones(n, n), diagonal=1).bool()
                    x, _ = self.attention(x, x, x, attn_mask=ahead, key_padding_mask=tokens == 0)
                    x = self.encoder(x, mask=~torch.tril(torch.ones(n, n, dtype=torch.bool)))
                    x = self.encoder(x, mask=torch.triu(torch.full((n, n), float("-inf")), diagonal=1))
                    x = F.scaled_dot_product_attention(x, x, x, attn_mask=torch.tril(torch.ones(n, n)).bool())
                    scores = scores.masked_fill(self.bias[:, :, :n, :n] == 0, float("-inf"))
                    return x, F.softmax(scores, dim=-1)
            """,
        "the tutorial's way": """
            def square_mask(size):
                mask = (torch.triu(torch.ones(size, size)) == 1).transpose(0, 1)
                mask = mask.float().masked_fill(mask == 0, float("-inf")).masked_fill(mask == 1, float(0.0))
                return mask

            def pairs(similarity, n):
                upper = torch.triu(torch.ones(n, n)).bool()
                return similarity.masked_fill(upper, -1e9).max(dim=1)
            """,
        "a mask of which True means seen": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4), 2)

                def forward(self, x, keep):
                    return self.encoder(x, src_key_padding_mask=keep != 1)
            """,
    }


def _is_softmaxed(file: Code, call: Call) -> bool:
    """Whether what a call gives goes into a softmax, here or through its name."""
    for one in file.calls_of("torch.nn.functional.softmax", "torch.softmax", ".softmax"):
        value = one.receiver if one.name == ".softmax" else one.argument(0, "input")
        found, _ = followed(file, value)
        if found is call:
            return True
    return False


def _is_embedded(file: Code, tokens: Name) -> bool:
    """Whether a tensor of tokens is looked up in an embedding, too."""
    if literal(file, tokens) is None:
        return False
    same = {name.at for name in readings_of(file, tokens.binding)}
    for call in file.calls:
        value = call.argument(0) if call.receiver is not None else None
        if value is not None and value.at in same and called(file, call).name == "torch.nn.Embedding":
            return True
    return False
