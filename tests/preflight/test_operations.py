"""What fits where an operation on a line failed: what is proposed is carried out, and then nothing is raised."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crashing import failed
from stethoscope.observe.preflight.crash import crash_of

IMAGES = torch.randn(4, 8, 16, 16)


class Block(nn.Module):
    """Adds its input to what it makes of it, written in several ways."""

    def __init__(self, how: str, *convolutions: nn.Module) -> None:
        super().__init__()
        self.how, self.shortcut = how, nn.Identity()
        self.conv = convolutions[0]
        self.body = nn.Sequential(*convolutions[1:], nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "on one line":
            return self.shortcut(x) + self.body(self.conv(x))
        out = self.body(F.relu(self.conv(x)))
        if self.how == "in place":
            out += self.shortcut(x)
            return out
        return F.relu(out + self.shortcut(x))


BLOCKS: dict[str, tuple[tuple[nn.Module, ...], str]] = {
    "no padding": ((nn.Conv2d(8, 8, 3),), "self.conv = nn.Conv2d(8, 8"),
    "no padding, deeper": ((nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 5)), "self.body[0] = nn.Conv2d(8, 8"),
    "no padding of two": ((nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3, dilation=2)), "self.body[0] = nn.Conv2d(8, 8"),
    "stride": ((nn.Conv2d(8, 8, 3, stride=2, padding=1),), "nn.Conv2d(8, 8, 1, stride=2)"),
    "channels": ((nn.Conv2d(8, 16, 3, padding=1),), "nn.Conv2d(8, 16, 1)"),
    "both": ((nn.Conv2d(8, 16, 3, stride=2, padding=1),), "nn.Conv2d(8, 16, 1, stride=2)"),
}


@pytest.mark.parametrize("how", ["on one line", "two lines", "in place"])
@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_that_does_not_fit_its_input_is_mended(name: str, how: str) -> None:
    parts, made = BLOCKS[name]
    block = Block(how, *parts)
    crash = failed(lambda: block(IMAGES))
    assert crash.during == "code"
    assert "(4, 8, 16, 16)" in crash.why
    assert made in crash.fix, crash
    scope = {"self": block, "nn": nn, "x": IMAGES}
    for line in crash.fix.splitlines():
        if line.startswith("self.") and " = " in line:
            exec(line, scope)
    block(IMAGES)


class Far(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


def test_sums_that_are_no_block_get_no_layer() -> None:
    crash = failed(lambda: Far()(torch.zeros(4, 8), torch.zeros(4, 6)))
    assert not crash.fix
    assert "`y` is (4, 6) float32" in crash.why


class Flat(nn.Module):
    def __init__(self, how: str, *, linear: bool = True) -> None:
        super().__init__()
        self.how = how
        self.layers = nn.Sequential(nn.Linear(400, 10)) if linear else nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        match self.how:
            case "view":
                x = x.view(-1, 16 * 5 * 5)
            case "sizes":
                x = x.view((x.size(0), 400))
            case "batch":
                x = x.reshape(32, 400)
            case "strided":
                x = x.transpose(1, 2).view(x.size(0), -1)
            case "heads":
                x = x.view(x.shape[0], x.shape[1], 4, x.shape[2] // 4)
        return self.layers(x)


@pytest.mark.parametrize("how", ["view", "sizes"])
def test_a_view_with_another_number_of_values_names_them_and_the_layer_that_takes_them(how: str) -> None:
    model = Flat(how)
    x = torch.randn(3, 16, 6, 6)
    crash = failed(lambda: model(x))
    assert "576 values for each sample, and 400 are asked for" in crash.why
    flat, layer = crash.fix.splitlines()
    exec(layer, {"self": model, "nn": nn})
    assert model.layers(eval(flat, {"x": x})).shape == (3, 10)


def test_a_view_of_words_is_not_flattened() -> None:
    crash = failed(lambda: Flat("view", linear=False)(torch.randn(3, 7, 20)))
    assert "140 values for each sample" in crash.why
    assert not crash.fix


def test_a_view_for_another_number_of_samples_takes_that_of_the_batch() -> None:
    x = torch.randn(17, 16, 5, 5)
    crash = failed(lambda: Flat("batch")(x))
    assert crash.why == "`x` holds 17 samples, and 32 are asked for."
    assert eval(crash.fix, {"x": x}).shape == (17, 400)


def test_a_view_across_memory_is_a_reshape() -> None:
    x = torch.randn(4, 16, 5, 5)
    crash = failed(lambda: Flat("strided")(x))
    assert eval(crash.fix.partition("#")[0], {"x": x}).shape == (4, 400)


def test_a_width_that_heads_cannot_share_is_named() -> None:
    crash = failed(lambda: Flat("heads")(torch.randn(2, 5, 30)))
    assert "has 30 entries, which 4 parts" in crash.why
    assert crash.fix.startswith("32 ")


class Masked(nn.Module):
    def forward(self, how: str, q: Tensor, mask: Tensor) -> Tensor:
        if how == "attention":
            return F.scaled_dot_product_attention(q, q, q, attn_mask=mask)
        scores = q @ q.transpose(-2, -1)
        if how == "added":
            return (scores + mask).softmax(-1)
        return scores.masked_fill(mask == 0, -1e9).softmax(-1)


@pytest.mark.parametrize("how", ["attention", "added", "filled"])
@pytest.mark.parametrize(("shape", "heads"), [((4, 7), (2,)), ((4, 7, 7), (2,)), ((4, 7), ())])
def test_a_mask_without_the_axis_of_heads_gets_one(how: str, shape: tuple[int, ...], heads: tuple[int, ...]) -> None:
    q = torch.randn(4, *heads, 7, 8)
    mask = torch.ones(shape) if how != "attention" else torch.ones(shape, dtype=torch.bool)
    crash = failed(lambda: Masked()(how, q, mask))
    assert "samples first" in crash.why
    mended = eval(crash.fix.partition("#")[0], {"mask": mask})
    assert Masked()(how, q, mended).isfinite().all()


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 4)
        self.up = nn.ConvTranspose2d(8, 8, 2, 2)
        self.down = nn.Conv2d(8, 8, 3, 2, 1)

    def forward(self, how: str, a: Tensor, b: Tensor) -> Tensor:
        match how:
            case "words":
                return torch.cat([self.words(a), b], 1)
            case "column":
                return torch.cat((a, b), dim=1)
            case "odd picture":
                return torch.cat([a, self.up(self.down(a))], dim=1)
            case "products":
                return torch.bmm(a, b)
            case "lookup":
                return a.gather(1, b)
            case "types":
                return a @ b
        return self.unknown(a)[b]


@pytest.mark.parametrize(
    ("how", "a", "b"),
    [
        ("words", torch.ones(3, 1).long(), torch.zeros(3, 2)),
        ("column", torch.zeros(3, 4), torch.zeros(3)),
        ("odd picture", torch.zeros(2, 8, 15, 15), torch.zeros(1)),
        ("products", torch.zeros(3, 4, 8), torch.zeros(3, 4, 8)),
        ("lookup", torch.zeros(8, 4), torch.zeros(8).long()),
        ("types", torch.zeros(8, 4), torch.zeros(4, 2).double()),
    ],
)
def test_what_is_made_on_a_line_is_worked_out_and_mended(how: str, a: Tensor, b: Tensor) -> None:
    model = Line()
    crash = failed(lambda: model(how, a, b))
    scope = {"self": model, "a": a, "b": b, "nn": nn}
    mended = eval(crash.fix.partition("#")[0], scope)
    if how == "odd picture":
        assert torch.cat([a, mended], 1).shape == (2, 16, 15, 15)
    elif how == "words":
        assert torch.cat([mended, b], 1).shape == (3, 6)
    else:
        assert model(how, a, mended) is not None
    assert crash.why


def test_code_of_the_users_is_not_run_again() -> None:
    called = []

    def own(x: Tensor) -> Tensor:
        called.append(1)
        return x

    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return own(x) + torch.zeros(3)

    crash = failed(lambda: Net()(torch.zeros(2, 4)))
    assert called == [1]
    assert not crash.fix


def test_looking_once_more_draws_no_random_number_and_changes_no_layer() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.body(x)

    model, state = Net(), torch.get_rng_state()
    seen = int(model.body[1].num_batches_tracked)  # type: ignore[arg-type]
    try:
        model(IMAGES)
    except RuntimeError as error:
        state = torch.get_rng_state()
        crash = crash_of(error)
    assert crash is not None
    assert "padding=(1, 1)" in crash.fix
    assert torch.equal(state, torch.get_rng_state())
    assert int(model.body[1].num_batches_tracked) == seen + 1  # type: ignore[arg-type]


def test_the_line_is_that_which_raised_and_not_where_its_frame_went_on() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(5, 6))

        def forward(self, x: Tensor) -> Tensor:
            try:
                return x @ self.weight  # here
            finally:
                self.after = 1

    crash = failed(lambda: Net()(torch.zeros(2, 6)))
    assert crash.site is not None
    assert crash.site.text.endswith("# here")
    assert "`self.weight` is the wrong way round" in crash.why


class OnDevices(nn.Module):
    def __init__(self, *, registered: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        mask = torch.ones(4)
        self.mask = mask if not registered else nn.Parameter(mask)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask


def test_an_attribute_that_stayed_behind_becomes_a_buffer() -> None:
    model = OnDevices(registered=False).to("meta")
    crash = failed(lambda: model(torch.ones(2, 4, device="meta")))
    assert "only parameters and buffers move" in crash.why
    mask = model.__dict__.pop("mask")
    exec(crash.fix, {"self": model, "mask": mask})
    assert model.to("meta")(torch.ones(2, 4, device="meta")).shape == (2, 4)


def test_an_input_that_stayed_behind_goes_to_the_weights() -> None:
    model, x = OnDevices(registered=True), torch.ones(2, 4, device="meta")
    crash = failed(lambda: model(x))
    assert crash.fix == "x = x.to(self.mask.device)"


def test_weights_on_meta_are_told_to_hold_no_values() -> None:
    crash = failed(lambda: OnDevices(registered=True).to("meta")(torch.ones(2, 4)))
    assert crash.fix == "model.to_empty(device='cpu')"
