# SPDX-License-Identifier: Apache-2.0
"""Mixed precision: what is cast, what is not, training to the same loss, the loss scale.

Products of bfloat16 are the CPU's own where it has them, else rounded operands in float32; both are
tested where the CPU has them, since OSTRIA_ISA=avx512 forbids them.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ostria as ost
from ostria import nn, optim

RNG = np.random.default_rng(0)
A, B = (RNG.standard_normal((8, 8)).astype(np.float32) for _ in range(2))
IMAGES = RNG.standard_normal((96, 8, 8, 1)).astype(np.float32)
LABELS = (IMAGES.mean((1, 2, 3)) > 0).astype(np.int64)


def rounded(x, dtype="bfloat16"):
    return ost.cast(ost.cast(ost.asarray(x), dtype), "float32").numpy()


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_a_product_is_of_rounded_operands_and_the_user_sees_float32(name):
    f = ost.compile(lambda a, b: a @ b, precision=name)
    y = f(A, B)
    assert y.dtype == ost.float32
    np.testing.assert_array_equal(y.numpy(), rounded(y.numpy(), name))
    eps = 2.0**-8 if name == "bfloat16" else 2.0**-11
    np.testing.assert_allclose(
        y.numpy(), rounded(A, name) @ rounded(B, name), rtol=2 * eps, atol=1e-5
    )


def test_what_follows_is_low_and_softmax_is_not():
    f = ost.compile(lambda a, b, c: ost.softmax(ost.relu(a @ b) + 1.0) + c, precision="bfloat16")
    f(A, B, A)
    text = f.explain(runs=1)
    assert "precision mixed_bfloat16: 3 op(s) run in bfloat16" in text
    for op in ("matmul", "relu", "add"):
        assert f"  {op}: bfloat16" in text
    assert "softmax: bfloat16" not in text


def test_attention_runs_low_though_its_log_sum_exp_stays_float32():
    q, k, v = (RNG.standard_normal((2, 8, 2, 4)).astype(np.float32) for _ in range(3))

    def loss(q, k, v):
        return ost.sum(ost.square(ost.attention(q, k, v, causal=True)))

    f = ost.compile(lambda q, k, v: ost.value_and_grad(loss)(q, k, v), precision="bfloat16")
    value, gradient = f(q, k, v)
    text = f.explain(runs=1)
    assert "  attention: bfloat16" in text
    assert re.search(r"bfloat16\[2, 8, 2, 4\], %\d+: float32\[2, 2, 8\] = attention@", text)
    want, slope = ost.value_and_grad(loss)(*(ost.asarray(rounded(x)) for x in (q, k, v)))
    np.testing.assert_allclose(value.numpy(), want.numpy(), rtol=1e-2)
    np.testing.assert_allclose(gradient.numpy(), slope.numpy(), rtol=5e-2, atol=5e-2)


def test_a_users_cast_wins_and_is_reported():
    f = ost.compile(lambda a, b: ost.cast(a, "float32") @ b, precision="bfloat16")
    np.testing.assert_array_equal(f(A, B).numpy(), (ost.asarray(A) @ ost.asarray(B)).numpy())
    assert "matmul: float32, because an operand was cast by the user" in f.explain(runs=1)
    g = ost.compile(
        lambda a, b: ost.cast(a, "float16") @ ost.cast(b, "float16"), precision="bfloat16"
    )
    assert g(A, B).dtype == ost.float16


def test_gradients_inherit_dtypes_and_weights_stay_float32():
    w = ost.Variable(A, name="w")

    def step(x):
        loss = ost.mean(ost.square(x @ w))
        return ost.gradients(loss, [w])[0]

    f = ost.compile(step, precision="bfloat16")
    assert f(B).dtype == ost.float32
    want = ost.compile(step)(B).numpy()
    np.testing.assert_allclose(f(B).numpy(), want, rtol=0.05, atol=0.02)
    assert not np.array_equal(f(B).numpy(), want)
    graph = f.trace(B).text()
    assert [("bfloat16" in line) for line in graph.splitlines() if "matmul@" in line] == [True] * 2


def test_the_policy_is_part_of_the_key():
    f = ost.compile(lambda a, b: a @ b)
    a, b = ost.asarray(A), ost.asarray(B)
    exact = f(a, b).numpy()
    f(a, b)
    ost.mixed_precision.set_policy("mixed_bfloat16")
    try:
        assert not np.array_equal(f(a, b).numpy(), exact)
    finally:
        ost.mixed_precision.set_policy("float32")
    np.testing.assert_array_equal(f(a, b).numpy(), exact)
    assert f.num_traces == 2
    assert "precision mixed_bfloat16 (was float32)" in f.explain(runs=1)


def test_an_unknown_policy_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'mixed_bfloat16', 'mixed_float16'.*test_mixed"):
        ost.compile(lambda x: x, precision="fp8")


def make(kind):
    ost.random.seed(0)
    if kind == "cnn":
        return nn.Sequential([nn.Conv2D(8, 3, activation="relu"), nn.Flatten(), nn.Dense(2)])
    return nn.Sequential([nn.Flatten(), nn.Dense(32, activation="relu"), nn.Dense(2)])


def trained(kind, precision, steps=60):
    model = make(kind)
    optimizer = optim.Adam(1e-2)
    if precision == "float16":
        optimizer = optim.LossScaleOptimizer(optimizer)

    @ost.compile(precision=precision)
    def step(x, y):
        logits = model(x, training=True)
        loss = ost.mean(ost.sparse_softmax_cross_entropy(logits, y))
        optimizer.minimize(loss, model.trainable_variables)
        return loss, ost.mean(ost.cast(ost.equal(ost.argmax(logits, axis=-1), y), "float32"))

    for _ in range(steps):
        loss, accuracy = step(IMAGES, LABELS)
    return loss.item(), accuracy.item(), optimizer


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_models_reach_the_same_accuracy(kind):
    loss, accuracy, _ = trained(kind, "float32")
    assert accuracy > 0.95
    for precision in ("bfloat16", "float16"):
        low_loss, low_accuracy, _ = trained(kind, precision)
        assert abs(low_accuracy - accuracy) < 0.05
        assert abs(low_loss - loss) < 0.05


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_a_gradient_that_an_update_reads_is_rounded_in_float16_alone(name):
    w = ost.Variable(np.zeros((8, 8), np.float32), name="w")
    optimizer = optim.SGD(1.0)
    if name == "float16":
        optimizer = optim.LossScaleOptimizer(optimizer, initial_scale=1.0)

    @ost.compile(precision=name)
    def step(x):
        optimizer.minimize(ost.sum(x @ w * B), [w])

    step(A)
    got = -w.numpy()
    want = rounded(A, name).astype(np.float64).T @ rounded(B, name)
    np.testing.assert_allclose(got, want, rtol=2e-2, atol=2e-3)
    if name == "bfloat16":
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_array_equal(got, rounded(got, name))


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_a_bias_gradient_is_summed_where_its_gradient_is_made(name):
    b = ost.Variable(np.ones(8, np.float32), name="b")

    def gradient(x, g):
        return ost.gradients(ost.sum(ost.gelu(x @ x + b) * g), [b])[0]

    step = ost.compile(gradient, precision=name)
    exact = ost.compile(gradient)(A, B).numpy()
    np.testing.assert_allclose(step(A, B).numpy(), exact, rtol=0.03, atol=0.03)
    text = step.explain(runs=1)
    assert re.search(r"%  fused <tiles, .*gelu_grad.* sum>", text)
    assert not re.search(r"%  sum <", text)
    assert not re.search(r" fused .*is made of simpler ops", text)


NO_PRODUCTS = "bfloat16 needs instructions of AVX512_BF16"


def needs_bfloat16_products():
    """Skips where the CPU multiplies no bfloat16, or OSTRIA_ISA forbids it."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if "avx512_bf16" not in flags or os.environ.get("OSTRIA_ISA", "avx512_bf16") != "avx512_bf16":
        pytest.skip("this CPU has no AVX512_BF16, or OSTRIA_ISA forbids it")


def training_report(kind):
    """What a model's training step in bfloat16 gives, and what explain() says of it."""
    model = make(kind)
    optimizer = optim.SGD(0.1)

    @ost.compile(precision="bfloat16")
    def step(x, y):
        loss = ost.mean(ost.sparse_softmax_cross_entropy(model(x, training=True), y))
        optimizer.minimize(loss, model.trainable_variables)
        return loss

    losses = [step(IMAGES, LABELS).item() for _ in range(8)]
    return losses, [v.numpy() for v in model.trainable_variables], step.explain(runs=1)


def without_products(kind, folder):
    """The same in a process that may use AVX-512, but no products of bfloat16."""
    program = (
        "import sys, numpy as np; import test_mixed_precision as t;"
        "losses, weights, text = t.training_report(sys.argv[1]);"
        "np.savez(sys.argv[2], losses, *weights); print(text)"
    )
    folders = [str(Path(__file__).parent), str(Path(ost.__file__).parents[1])]
    done = subprocess.run(
        [sys.executable, "-c", program, kind, str(folder / "weights.npz")],
        env={**os.environ, "OSTRIA_ISA": "avx512", "PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        check=True,
    )
    with np.load(folder / "weights.npz") as arrays:
        losses, *weights = arrays.values()
    return losses, weights, done.stdout


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_the_emulation_says_why_and_trains_like_the_cpus_own_products(kind, tmp_path):
    losses, weights, text = without_products(kind, tmp_path)
    assert "avx512_core_bf16" not in text
    assert re.search(rf"matmul_fused .*is made of simpler ops: .*onednn: {NO_PRODUCTS}", text)
    needs_bfloat16_products()
    own_losses, own_weights, _ = training_report(kind)
    np.testing.assert_allclose(own_losses, losses, rtol=1e-2)
    for a, b in zip(own_weights, weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1.6e-2, atol=1.6e-2)


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_explain_names_the_cpus_own_products(kind):
    needs_bfloat16_products()
    text = training_report(kind)[2]
    ops = ["matmul_fused", "matmul"]
    ops += ["conv_fused", "conv_grad_filter"] if kind == "cnn" else []
    for op in ops:
        lines = [line for line in text.splitlines() if f"%  {op} <" in line]
        assert lines and all("avx512_core_bf16" in line for line in lines), op
    assert not re.search(r"(matmul|conv)\w* .*is made of simpler ops", text)


def test_an_overflow_halves_the_scale_and_changes_no_weight():
    w = ost.Variable(np.ones((1, 1), np.float32), name="w")
    optimizer = optim.LossScaleOptimizer(optim.SGD(0.25), dynamic_growth_steps=2)

    @ost.compile(precision="float16")
    def step(x):
        loss = ost.sum(x @ w)
        return optimizer.minimize(loss, [w])

    def scale():
        return optimizer.dynamic_scale.numpy().item()

    assert not step(np.float32([[4]])).item()  # 4 * 2**15 is no float16
    assert scale() == 2.0**14
    assert w.numpy().item() == 1.0
    assert optimizer.skipped.numpy().item() == 1
    assert step(np.float32([[2]])).item()
    assert w.numpy().item() == 0.5
    assert scale() == 2.0**14
    assert step(np.float32([[1]])).item()  # the second in a row
    assert scale() == 2.0**15
    assert optimizer.iterations.numpy().item() == 2


def scaled_steps(how, **clipping):
    """Weights after three steps in which `how` uses the optimizer, and the graph's divisions."""
    ost.random.seed(1)
    model = nn.Sequential([nn.Dense(8, activation="tanh"), nn.Dense(8), nn.Dense(2)])
    optimizer = optim.LossScaleOptimizer(optim.Adam(0.1, **clipping))

    @ost.compile(precision="mixed_float16")
    def step(x):
        loss = ost.mean(ost.square(model(x)))
        how(optimizer, loss, model.trainable_variables)
        return loss

    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    for _ in range(3):
        step(x)
    divisions = step.trace(x).text().count("divide@")
    return [v.numpy() for v in model.trainable_variables], divisions


@pytest.mark.parametrize("clipping", [{}, {"clipvalue": 1e-3}, {"global_clipnorm": 1e-2}])
def test_the_update_undoes_the_loss_scale_unless_gradients_are_clipped(clipping):
    def in_two_steps(optimizer, loss, variables):
        optimizer.apply(optimizer.gradients(loss, variables), variables, loss=loss)

    weights, divisions = scaled_steps(lambda o, *rest: o.minimize(*rest), **clipping)
    expected, most = scaled_steps(in_two_steps, **clipping)
    for a, b in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert divisions == (most if clipping else most - 5)  # one of six is left


def test_float16_asks_for_a_loss_scale():
    w = ost.Variable(A, name="w")
    step = ost.compile(
        lambda x: optim.SGD(0.1).minimize(ost.sum(x @ w), [w]), precision="mixed_float16"
    )
    with pytest.raises(ValueError, match=r"LossScaleOptimizer\(SGD\(\.\.\.\)\)"):
        step(A)


def test_a_checkpointed_block_runs_low_too():
    w = ost.Variable(A, name="w")

    def grad(wrap):
        f = ost.compile(
            lambda x: ost.gradients(ost.mean(wrap(lambda h: ost.relu(h @ w))(x)), [w])[0],
            precision="bfloat16",
        )
        return f(B).numpy()

    np.testing.assert_allclose(grad(ost.checkpoint), grad(lambda f: f), rtol=0.02, atol=1e-3)


def looped(w, x):
    return ost.scan(lambda h, _: (ost.relu(h @ w), None), x, length=3)[0]


BODIES = {
    "scan": looped,
    "cond": lambda w, x: ost.cond(ost.sum(x) < 1e9, lambda: ost.relu(x @ w), lambda: x),
    "while_loop": lambda w, x: ost.while_loop(
        lambda h: ost.sum(h) < -1e9, lambda h: ost.relu(h @ w), looped(w, x), max_steps=3
    ),
    "custom_gradient": lambda w, x: ost.custom_gradient(
        lambda x: (ost.relu(x @ w), lambda g: g @ ost.transpose(w))
    )(x),
    "cond in a scan": lambda w, x: ost.scan(
        lambda h, _: (ost.cond(True, lambda: ost.relu(h @ w), lambda: h), None), x, length=3
    )[0],
}


@pytest.mark.parametrize("kind", BODIES)
def test_bodies_of_control_flow_run_low_too(kind):
    w = ost.Variable(A / 4, name="w")

    def loss(x):
        value = ost.mean(ost.square(BODIES[kind](w, x)))
        return value, *ost.gradients(value, [w, x])

    f = ost.compile(loss, precision="bfloat16")
    for got, want in zip(f(B), ost.compile(loss)(B), strict=True):
        assert got.dtype == ost.float32
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=0.05, atol=0.02)
        if kind != "custom_gradient" or got.shape == ():
            assert not np.array_equal(got.numpy(), want.numpy())
    text = f.explain(runs=1)
    assert re.search(r"^ +matmul.*: bfloat16  test_mixed", text, re.MULTILINE)
    assert re.search(r"^ +relu.*: bfloat16  test_mixed", text, re.MULTILINE)
    products = [line for line in f.trace(B).text().splitlines() if "matmul@" in line]
    assert products and all("bfloat16" in line for line in products)


@pytest.mark.parametrize(
    "run",
    [
        lambda w, x: ost.cond(True, lambda: x @ w, lambda: x),
        lambda w, x: ost.cond(True, lambda x: x @ w, lambda x: x, x),
        lambda w, x: ost.scan(lambda c, r: (c, r[None] @ w), None, x)[1][:, 0],
        lambda w, x: ost.scan(
            lambda c, _: (ost.cond(True, lambda: x @ w, lambda: c), None), x, length=2
        )[0],
        lambda w, x: ost.checkpoint(lambda x: x @ w)(x),
    ],
)
def test_a_users_cast_wins_in_a_body_too(run):
    w = ost.Variable(A, name="w")
    f = ost.compile(lambda x: run(w, ost.cast(x, "float32")), precision="bfloat16")
    np.testing.assert_allclose(f(B).numpy(), B @ A, rtol=1e-5, atol=1e-5)
    assert "matmul: float32, because an operand was cast by the user" in f.explain(runs=1)


def test_updates_in_a_body_keep_weights_in_float32():
    def trained(precision, loops):
        w, optimizer = ost.Variable(A / 4, name="w"), optim.SGD(0.1, momentum=0.9)

        def update(c, x):
            optimizer.minimize(ost.mean(ost.square(x @ w - 1.0)), [w])
            return c, None

        def step(x):
            if loops:
                ost.scan(update, None, ost.stack([x, x]))
            else:
                for _ in range(2):
                    update(None, x)

        ost.compile(step, precision=precision)(B)
        return w.numpy()

    low = trained("bfloat16", True)
    np.testing.assert_allclose(low, trained("bfloat16", False), rtol=1e-5, atol=1e-6)
    assert not np.array_equal(low, rounded(low))
    assert not np.array_equal(low, trained("float32", True))


def test_float16_asks_for_a_loss_scale_in_a_body_too():
    w = ost.Variable(A, name="w")

    def update(c, x):
        optim.SGD(0.1).minimize(ost.sum(x @ w), [w])
        return c, None

    step = ost.compile(lambda x: ost.scan(update, None, x), precision="mixed_float16")
    with pytest.raises(ValueError, match=r"LossScaleOptimizer\(SGD\(\.\.\.\)\)"):
        step(A[None])


def trainer(folder):
    data = ost.data.Dataset.from_tensor_slices((IMAGES, LABELS)).repeat(4).batch(32)
    model = make("mlp")
    optimizer = optim.LossScaleOptimizer(optim.Adam(1e-2), dynamic_growth_steps=2)
    loss = ost.losses.SparseCategoricalCrossentropy(from_logits=True)
    made = ost.train.Trainer(
        model,
        loss,
        optimizer,
        model_dir=folder,
        save_steps=3,
        seed=0,
        on_nonfinite="skip",
        precision="float16",
    )
    return made, model, optimizer, lambda: data


def test_a_resumed_run_is_bit_identical(tmp_path):
    ends = []
    for stops in ([9], [6, 9]):  # 3 steps an epoch: each run begins one
        for stop in stops:
            t, model, optimizer, data = trainer(tmp_path / str(len(stops)))
            t.train(data, max_steps=stop)
        state = [v.numpy() for v in [*model.variables, *optimizer.variables]]
        assert optimizer.dynamic_scale.numpy() != 2.0**15
        ends.append(state)
    for a, b in zip(*ends, strict=True):
        np.testing.assert_array_equal(a, b)


def test_policies_of_your_own_are_told_apart_by_what_they_compute_in():
    f = ost.compile(lambda a: a @ a)
    for dtype in (ost.bfloat16, ost.float16, ost.float32):
        try:
            ost.mixed_precision.set_policy(ost.mixed_precision.Policy("mine", dtype))
            assert f(ost.ones((2, 2))).numpy().tolist() == [[2.0, 2.0], [2.0, 2.0]]
        finally:
            ost.mixed_precision.set_policy("float32")
    text = f.explain(runs=1)
    assert f.num_traces == 3
    assert "precision mine: 1 op(s) run in bfloat16" in text
    assert "precision mine (was mine)" in text
