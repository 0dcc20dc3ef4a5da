"""FreeSeg's laws: vocabularies, tasks, one task per step, prompts that are frozen or tuned."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from detectron2.structures import BitMasks, Instances
from freeseg.engine.dataset_tuning import tuned_over_dataset
from freeseg.inference import AugmentedSemantic, SlidingWindow
from freeseg.structures import Vocabulary
from freeseg.systems import FreeSeg
from freeseg.systems.freeseg.questions import with_seen
from freeseg.systems.freeseg.tuning import PromptTuner

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tiny_clip import NAMES, tiny_clip, tiny_config

SIZE = (48, 64)
TASKS = ("semantic", "instance", "panoptic")
TUNING = {"TEST__PROMPT_TUNING__ENABLED": True, "TEST__PROMPT_TUNING__LR": 0.3}


def build(**changes) -> FreeSeg:
    clip = tiny_clip()
    torch.manual_seed(1)
    return FreeSeg(tiny_config(**changes), clip_model=clip).eval()


@pytest.fixture(scope="module")
def model():
    return build()


def picture(seed: int = 0, size=SIZE, **wanted) -> dict:
    generator = torch.Generator().manual_seed(seed)
    return {"image": torch.randint(0, 256, (3, *size), generator=generator).byte(), **wanted}


def annotated(labels, task="semantic", seed=0) -> dict:
    instances = Instances(SIZE)
    instances.gt_classes = torch.tensor(labels, dtype=torch.int64)
    rows = torch.arange(SIZE[0])[None, :, None] * max(len(labels), 1) // SIZE[0]
    masks = (rows == torch.arange(len(labels))[:, None, None]).expand(-1, -1, SIZE[1])
    instances.gt_masks = BitMasks(masks.reshape(len(labels), *SIZE))
    return {**picture(seed), "instances": instances, "task": task}


@torch.no_grad()
def test_only_what_is_asked_for_is_computed(model):
    outputs = model([picture(tasks=("panoptic",)), picture(1, tasks=("semantic", "instance"))])
    assert [set(output) for output in outputs] == [{"panoptic_seg"}, {"sem_seg", "instances"}]
    with pytest.raises(ValueError, match="selection of the tasks"):
        model([picture(tasks=("depth",))])


@torch.no_grad()
def test_backbone_and_pixel_decoder_run_once_for_all_tasks_and_lists(model):
    calls = []
    head = model.sem_seg_head
    hooks = [
        module.register_forward_hook(lambda module, *_: calls.append(type(module).__name__))
        for module in (model.backbone, head.pixel_decoder, head.interaction)
    ]
    other = Vocabulary.from_classes(["tree", "road: stuff"])
    model([picture(tasks=TASKS), picture(1, tasks=TASKS, vocabulary=other)])
    for hook in hooks:
        hook.remove()
    assert len(calls) == 4  # backbone, pixel decoder, and the texts' part once per list
    assert calls.count("ContextInteraction") == 2


@torch.no_grad()
def test_inference_decodes_the_last_layer_alone_and_the_same(model):
    features = model.encode(model.prepare([picture()["image"]]))
    text = model.text(model.vocabulary, "panoptic")[None]
    last, alone = model.sem_seg_head(features, text)[-1], model.sem_seg_head.final(features, text)
    torch.testing.assert_close(alone.mask_logits, last.mask_logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone.embeddings, last.embeddings, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_an_image_does_not_feel_the_padding_of_a_larger_one(model):
    small = picture(tasks=("semantic",))
    large = picture(1, size=(144, 128), tasks=("semantic",))
    together = model([small, large])
    for one, output in zip((small, large), together):
        torch.testing.assert_close(output["sem_seg"], model([one])[0]["sem_seg"])


@torch.no_grad()
def test_a_batch_of_requests_equals_each_alone(model):
    """Images, tasks and class lists do not mix."""
    other = Vocabulary.from_classes(["tree", "road: stuff", "cat"])
    inputs = [picture(tasks=TASKS), picture(1, tasks=("semantic",), vocabulary=other)]
    together = model(inputs)
    for one, output in zip(inputs, together):
        for task, key in (("semantic", "sem_seg"), ("panoptic", "panoptic_seg")):
            if task in one["tasks"]:
                alone = model([{**one, "tasks": (task,)}])[0][key]
                found = output[key]
                if task == "panoptic":
                    alone, found = alone[0], found[0]
                torch.testing.assert_close(found, alone, atol=1e-4, rtol=1e-3)
    assert together[1]["sem_seg"].shape == (3, *SIZE)


@torch.no_grad()
def test_the_task_changes_the_result(model):
    features = model.encode(model.prepare([picture()["image"]]))
    vocabulary = model.vocabulary
    texts = [model.text(vocabulary, task) for task in TASKS]
    masks = [model.sem_seg_head(features, text[None])[-1].mask_logits for text in texts]
    assert (texts[0] - texts[2]).abs().max() > 1e-3
    assert (masks[0] - masks[2]).abs().max() > 1e-6


@torch.no_grad()
def test_permuting_classes_permutes_scores(model):
    order = [2, 0, 3, 1]
    straight = model([picture(tasks=("semantic",))])[0]["sem_seg"]
    shuffled = model.vocabulary.select(order)
    permuted = model([picture(tasks=("semantic",), vocabulary=shuffled)])[0]["sem_seg"]
    torch.testing.assert_close(permuted, straight[order], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_synonym_of_a_class_never_lowers_its_region_score(model):
    plain = Vocabulary(("cat", "dog"), (True, True), (True, False))
    rich = Vocabulary(("cat", "dog"), (True, True), (True, False), (("cat", "kitten"), ("dog",)))
    texts = [model.text(vocabulary, "semantic") for vocabulary in (plain, rich)]
    assert [len(text) for text in texts] == [3, 4]
    found = model([picture(tasks=("semantic",), vocabulary=rich)])[0]["sem_seg"]
    assert found.shape == (2, *SIZE)


@pytest.mark.parametrize("names", [["cat"], [f"class {index}" for index in range(300)]])
@torch.no_grad()
def test_one_class_and_many_classes_work(model, names):
    output = model([picture(tasks=TASKS, vocabulary=Vocabulary.from_classes(names))])[0]
    assert output["sem_seg"].shape == (len(names), *SIZE)
    assert all(segment["category_id"] < len(names) for segment in output["panoptic_seg"][1])


@torch.no_grad()
def test_an_empty_vocabulary_is_refused_and_none_is_the_trained_one(model):
    with pytest.raises(ValueError, match="vocabulary is empty; name a class"):
        model([picture(vocabulary=Vocabulary((), ()))])
    one, other = (model([picture(tasks=("semantic",), **x)]) for x in ({"vocabulary": None}, {}))
    torch.testing.assert_close(one, other)


def test_seen_flags_of_a_free_list_come_from_the_training_vocabulary(model):
    free = Vocabulary.from_classes(["sea", "Cat", "tree", "sky: stuff"])
    assert with_seen(free, model.vocabulary).is_seen == (False, True, False, True)
    flagged = Vocabulary(("cat",), (True,), (False,))
    assert with_seen(flagged, model.vocabulary) is flagged


def test_seen_flags_of_words_that_a_dataset_writes_in_its_own_way():
    names = ("tree-merged", "grass-merged", "road, route", "sand")
    trained = Vocabulary(names, (False,) * 4, (True, True, True, False))
    free = Vocabulary.from_classes(["Tree", "lawn|grass", "road", "road, route", "sand", "snow"])
    assert with_seen(free, trained).is_seen == (True, True, True, True, False, False)


@torch.no_grad()
def test_results_come_at_the_size_asked_for(model):
    output = model([picture(tasks=TASKS, height=96, width=100)])[0]
    assert output["sem_seg"].shape == (4, 96, 100)
    segment_ids, segments = output["panoptic_seg"]
    assert segment_ids.shape == (96, 100)
    counts = segment_ids.unique(return_counts=True)
    areas = {int(number): int(count) for number, count in zip(*counts) if number}
    assert {segment["id"]: segment["area"] for segment in segments} == areas
    assert output["instances"].pred_masks.shape[1:] == (96, 100)


@torch.no_grad()
def test_a_label_map_is_the_best_of_all_scores(model):
    wanted = {**picture(), "height": 70, "width": 90, "tasks": ("semantic",)}
    scores, labels = (
        model([{**wanted, "label_map": flag}])[0]["sem_seg"] for flag in (False, True)
    )
    assert labels.dtype == torch.int64
    assert (labels == scores.argmax(0)).float().mean() > 0.999


def test_a_model_may_be_built_and_used_in_inference_mode():
    wanted = picture(tasks=("semantic",))
    with torch.inference_mode():
        found = build()([wanted])[0]["sem_seg"]
        torch.testing.assert_close(found, build()([wanted])[0]["sem_seg"])
    with torch.no_grad():
        torch.testing.assert_close(found, build()([wanted])[0]["sem_seg"])


@torch.no_grad()
def test_prompts_that_were_written_to_are_encoded_again():
    model = build()
    before = model.text(model.vocabulary, "semantic")
    model.clip_adapter.prompt_learner.prefix_prompt.data.neg_()
    assert (model.text(model.vocabulary, "semantic") - before)[:-1].abs().max() > 1e-3


def test_training_uses_the_seen_classes_of_one_task():
    model = build().train()
    seen_texts = []
    original = model.text
    model.text = lambda *arguments: seen_texts.append(arguments) or original(*arguments)
    losses = model([annotated([0, 2], "panoptic"), annotated([0, 1, 3], "panoptic", seed=1)])
    assert len(losses) == 3 * 3  # the initial queries and two layers
    (vocabulary, task), *rest = seen_texts
    assert not rest
    assert (vocabulary.names, task) == (("cat", "sky"), "panoptic")
    sum(losses.values()).backward()
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert [name for name, weight in trained.items() if weight.grad is None] == []
    for part in ("prompt_learner.", "non_object", "interaction.", "class_embed.", "mask_embed."):
        assert all(weight.grad.any() for name, weight in trained.items() if part in name), part
    assert all(weight.grad is None for weight in model.clip_adapter.clip_model.parameters())


def test_unseen_annotation_is_no_target():
    """Losses with an unseen object are those without it: nothing of it is learned."""
    model = build(MODEL__MASK_FORMER__DEC_LAYERS=1).train()
    model.sem_seg_head.interaction.attn.dropout = 0.0
    with_unseen, without = annotated([0, 1]), annotated([0, 1])
    keep = torch.tensor([0])
    old = without["instances"]
    without["instances"] = Instances(SIZE)
    without["instances"].gt_classes = old.gt_classes[keep]
    without["instances"].gt_masks = BitMasks(old.gt_masks.tensor[keep])
    first, second = model([with_unseen]), model([without])
    for name, loss in first.items():
        torch.testing.assert_close(loss, second[name])


def test_tasks_of_a_batch_must_agree():
    with pytest.raises(ValueError, match="a training batch has one task, got instance, semantic"):
        build().train()([annotated([0], "semantic"), annotated([0], "instance")])


def test_an_image_without_targets_gives_finite_losses():
    losses = build().train()([annotated([]), annotated([1], seed=1)])
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_points_instead_of_whole_masks_are_an_option():
    names = {
        option: type(build(MODEL__FREESEG__DENSE_LOSS=option).criterion).__name__
        for option in (True, False)
    }
    assert names == {True: "DenseCriterion", False: "SetCriterion"}


def test_frozen_prompts_are_loaded_and_encoded_once(tmp_path, monkeypatch):
    torch.manual_seed(9)
    prompts = {
        "clip_adapter.prompt_learner.prefix_prompt": torch.randn(3, 24),
        "clip_adapter.prompt_learner.task_prompt": torch.randn(2, 24),
    }
    torch.save({"model": prompts}, tmp_path / "prompts.pth")
    path = str(tmp_path / "prompts.pth")
    model = build(MODEL__CLIP_ADAPTER__PROMPT_CHECKPOINT=path).train()
    learner = model.clip_adapter.prompt_learner
    assert torch.equal(learner.prefix_prompt, prompts["clip_adapter.prompt_learner.prefix_prompt"])
    assert not any(weight.requires_grad for weight in learner.parameters())
    encoded = []
    hook = learner.register_forward_hook(lambda *_: encoded.append(1))
    for _ in range(3):
        model([annotated([0])])
    model([annotated([0], "instance")])
    hook.remove()
    assert len(encoded) == 2  # one per task


@pytest.mark.parametrize("per_dataset", [False, True])
def test_prompt_tuning_changes_results_and_no_weight(per_dataset):
    plain = build()
    changes = {**TUNING, "TEST__PROMPT_TUNING__PER_DATASET": per_dataset}
    tuned = build(**changes)
    evaluated = tuned_over_dataset(tiny_config(**changes), tuned)
    assert (evaluated is tuned) is not per_dataset
    before = {key: value.clone() for key, value in tuned.state_dict().items()}
    unseen = Vocabulary(NAMES, (True, True, False, False), (True, False, False, False))
    inputs = [picture(seed, tasks=("semantic",), vocabulary=unseen) for seed in (0, 1)]
    with torch.inference_mode():  # as the predictor calls it
        expected = [plain([one])[0]["sem_seg"] for one in inputs]
        first = [evaluated([one])[0]["sem_seg"] for one in inputs]
        again = evaluated([inputs[0]])[0]["sem_seg"]
        evaluated.train(False)  # a new test set begins
        fresh = evaluated([inputs[0]])[0]["sem_seg"]
        alone = [tuned([inputs[index]])[0]["sem_seg"] for index in (1, 0)]
    assert all((a - b).abs().max() > 1e-6 for a, b in zip(first, expected))
    assert torch.equal(again, first[0]) is not per_dataset  # else it goes on from the last image
    assert torch.equal(fresh, first[0])
    assert torch.equal(alone[1], first[0]), "the model keeps nothing of an image"
    assert torch.equal(alone[0], first[1]) is not per_dataset
    after = tuned.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(weight.grad is None for weight in tuned.parameters())


@torch.no_grad()
def test_the_temperature_divides_the_cosines():
    cold, warm = build(), build(MODEL__FREESEG__TEMPERATURE=0.05)
    text = cold.text(cold.vocabulary, "semantic")
    queries = torch.randn(5, text.shape[1])
    cosines = torch.nn.functional.cosine_similarity(queries[:, None], text[None], dim=-1)
    for model, scale in ((cold, 100), (warm, 20)):
        found = model.classify(model.vocabulary, queries, text)
        torch.testing.assert_close(found, scale * cosines, rtol=1e-5, atol=1e-4)
    with pytest.raises(ValueError, match=r"TEMPERATURE must be positive, got 0"):
        build(MODEL__FREESEG__TEMPERATURE=0.0)


@torch.no_grad()
def test_a_checkpoint_may_leave_the_encoder_out(tmp_path):
    model = build(MODEL__TEXT_ENCODER__SAVE=False)
    state = model.state_dict()
    assert not any(".clip_model." in key for key in state)
    assert "clip_adapter.non_object_embedding" in state
    assert any(".prompt_learner." in key for key in state)
    other = build()
    for weight in (
        *other.sem_seg_head.parameters(),
        *other.clip_adapter.prompt_learner.parameters(),
    ):
        weight.zero_()
    other.load_state_dict(state)  # strictly
    expected, found = (each([picture()])[0]["sem_seg"] for each in (model, other))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("wrap", ["nothing", "windows", "copies", "processes"])
def test_tokens_go_on_through_all_that_a_wrapper_asks(wrap):
    """Written out: one tuner is handed from answer to answer, whoever asks."""
    changes = {**TUNING, "TEST__PROMPT_TUNING__PER_DATASET": True}
    model, unseen = build(**changes), Vocabulary(NAMES, (True,) * 4, (True, False, False, False))
    wrappers = {
        "nothing": lambda one: one,
        "windows": lambda one: SlidingWindow(
            one, window=(32, 48), stride=(16, 16), tasks=("semantic",)
        ),
        "copies": lambda one: AugmentedSemantic(one, min_sizes=[32, 48], max_size=64, flip=True),
        "processes": lambda one: one,
    }
    tuner = PromptTuner(model.tuner.settings, per_dataset=True)

    class Chained(torch.nn.Module):
        def forward(self, inputs):
            return model.respond(inputs, lambda *asked: model.answer_tuned(*asked, tuner))

    given = model
    if wrap == "processes":  # as DistributedDataParallel holds it
        given = torch.nn.Module()
        given.module = model
    evaluated = wrappers[wrap](tuned_over_dataset(tiny_config(**changes), given))
    expected = wrappers[wrap](Chained())
    inputs = [picture(seed, tasks=("semantic",), vocabulary=unseen) for seed in (0, 1, 0)]
    with torch.inference_mode():
        found = [evaluated([one])[0]["sem_seg"] for one in inputs]
        wanted = [expected([one])[0]["sem_seg"] for one in inputs]
    assert all(torch.equal(*pair) for pair in zip(found, wanted))
    assert not torch.equal(found[0], found[2])


def test_prompt_tuning_needs_prompts_to_tune():
    with pytest.raises(ValueError, match=r"TEST\.PROMPT_TUNING needs"):
        build(**TUNING, MODEL__CLIP_ADAPTER__PROMPT_LEARNER="predefined")


@torch.no_grad()
def test_without_clip_regions_the_model_decides_alone():
    alone = build(MODEL__CLIP_ADAPTER__CLIP_ENSEMBLE=False)
    output = alone([picture(tasks=("semantic",))])[0]["sem_seg"]
    assert (output - build()([picture(tasks=("semantic",))])[0]["sem_seg"]).abs().max() > 1e-4


@torch.no_grad()
def test_without_interaction_texts_do_not_touch_masks():
    model = build(MODEL__FREESEG__CONTEXT_INTERACTION=False)
    features = model.encode(model.prepare([picture()["image"]]))
    masks = [
        model.sem_seg_head(features, model.text(model.vocabulary, task)[None])[-1].mask_logits
        for task in ("semantic", "panoptic")
    ]
    assert torch.equal(*masks)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MODEL__CLIP_ADAPTER__MASK_MATTING": True}, "MASK_MATTING True"),
        ({"INPUT__FORMAT": "BGR"}, "need INPUT.FORMAT RGB, got BGR"),
        ({"MODEL__SEM_SEG_HEAD__EMB_SIZE": 64}, "must be equal"),
        ({"MODEL__CLIP_ADAPTER__PROMPT_LEARNER": "none"}, "learnable or predefined, got 'none'"),
        ({"MODEL__CLIP_ADAPTER__MASK_FILL": "red"}, "wanted a fill of mean, zero, got 'red'"),
    ],
)
def test_settings_that_cannot_work_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


@torch.no_grad()
def test_tokens_behind_the_name_are_a_part_of_the_model_under_the_releases_name():
    model = build(MODEL__CLIP_ADAPTER__PROMPT_SHAPE=(3, 2)).eval()
    suffix = model.clip_adapter.prompt_learner.suffix_prompt
    assert model.state_dict()["clip_adapter.prompt_learner.suffix_prompt"].shape == suffix.shape
    assert len(suffix) == 2
    before = model([picture()])[0]["sem_seg"]
    suffix.add_(1)
    assert not torch.equal(model([picture()])[0]["sem_seg"], before)


def test_weights_of_the_release_load_through_the_checkpointer_as_they_are(tmp_path):
    """With the class weights, pixel statistics and embedding rows that are kept there."""
    from freeseg.systems.building import load_weights

    source, target = build(), build()
    with torch.no_grad():
        for weight in source.parameters():
            weight.add_(1)
    state = source.state_dict()
    extras = {
        "criterion.empty_weight": torch.ones(3),
        "clip_adapter.pixel_mean": torch.ones(1, 3, 1, 1),
        "clip_adapter.prompt_learner.start_signal": torch.ones(1, 24),
    }
    torch.save({"model": {**state, **extras}}, tmp_path / "release.pth")
    load_weights(target, str(tmp_path / "release.pth"))
    found = target.state_dict()
    assert all(torch.equal(found[key], state[key]) for key in state)
    assert target.load_state_dict({**state, **extras}, strict=True).unexpected_keys == []
