"""What most scripts need: arguments, set-up, a trainer and a predictor from a config."""

from __future__ import annotations

import logging
import weakref
from collections import OrderedDict

import torch
from fvcore.nn.precise_bn import get_bn_modules

import detectron2.data.transforms as T
from detectron2 import data, evaluation
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.modeling import build_model
from detectron2.solver import build_lr_scheduler, build_optimizer
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from . import hooks
from ._setup import (
    _highlight,  # noqa: F401  scripts import these two from here
    _try_get_key,  # noqa: F401
    create_ddp_model,
    default_argument_parser,
    default_setup,
    default_writers,
)
from .train_loop import AMPTrainer, SimpleTrainer, TrainerBase

__all__ = [
    "DefaultPredictor",
    "DefaultTrainer",
    "create_ddp_model",
    "default_argument_parser",
    "default_setup",
    "default_writers",
]


class DefaultPredictor:
    """Runs the configured model on one BGR image at a time.

    Attributes:
        model: in evaluation mode, with ``cfg.MODEL.WEIGHTS``.
        metadata: of the first test dataset, if there is one.
    """

    def __init__(self, cfg):
        self.cfg = cfg.clone()  # the model may change it
        self.model = build_model(self.cfg)
        self.model.eval()
        if len(cfg.DATASETS.TEST):
            self.metadata = data.MetadataCatalog.get(cfg.DATASETS.TEST[0])
        DetectionCheckpointer(self.model).load(cfg.MODEL.WEIGHTS)
        self.input_format = cfg.INPUT.FORMAT
        assert self.input_format in ("RGB", "BGR"), self.input_format
        short_side = cfg.INPUT.MIN_SIZE_TEST
        self.aug = T.ResizeShortestEdge([short_side, short_side], cfg.INPUT.MAX_SIZE_TEST)

    def __call__(self, original_image):
        """Return the model's output for a uint8 image [H, W, 3] in BGR order."""
        height, width = original_image.shape[:2]
        image = original_image[:, :, ::-1] if self.input_format == "RGB" else original_image
        image = self.aug.get_transform(image).apply_image(image)
        image = torch.as_tensor(image.astype("float32").transpose(2, 0, 1))  # [3, H, W]
        with torch.no_grad():
            return self.model([{"image": image, "height": height, "width": width}])[0]


class DefaultTrainer(TrainerBase):
    """Trains as the config says; override a ``build_*`` method to change a part.

    Attributes:
        cfg: the config.
        scheduler: of the learning rate.
        checkpointer: a DetectionCheckpointer of the model and of this trainer.
    """

    def __init__(self, cfg):
        super().__init__()
        if not logging.getLogger("detectron2").isEnabledFor(logging.INFO):
            setup_logger()
        cfg = DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size())
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        loader = self.build_train_loader(cfg)
        model = create_ddp_model(model, broadcast_buffers=False)
        trainer_class = AMPTrainer if cfg.SOLVER.AMP.ENABLED else SimpleTrainer
        self._trainer = trainer_class(model, loader, optimizer)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = DetectionCheckpointer(
            model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self)
        )
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.cfg = cfg
        self.register_hooks(self.build_hooks())

    @property
    def model(self):
        """The model that is trained."""
        return self._trainer.model

    @model.setter
    def model(self, value):
        self._trainer.model = value

    @property
    def data_loader(self):
        """The loader that is trained from."""
        return self._trainer.data_loader

    @data_loader.setter
    def data_loader(self, value):
        self._trainer.data_loader = value

    @property
    def optimizer(self):
        """The optimizer."""
        return self._trainer.optimizer

    @optimizer.setter
    def optimizer(self, value):
        self._trainer.optimizer = value

    def resume_or_load(self, resume=True):
        """Load the last checkpoint of ``cfg.OUTPUT_DIR`` with its state, or ``cfg.MODEL.WEIGHTS``.

        Args:
            resume: False loads ``cfg.MODEL.WEIGHTS`` in any case.
        """
        self.checkpointer.resume_or_load(self.cfg.MODEL.WEIGHTS, resume=resume)
        if resume and self.checkpointer.has_checkpoint():
            self.start_iter = self.iter + 1  # the checkpoint has the iteration that was done

    def build_hooks(self):
        """Return the usual hooks; each builds upon what those before it did."""
        cfg = self.cfg
        evaluation_hook = hooks.EvalHook(cfg.TEST.EVAL_PERIOD, self._test_and_keep_results)
        # Precise statistics come before the checkpoint, which has to keep them.
        always = [hooks.IterationTimer(), hooks.LRScheduler(), self._precise_bn()]
        if not comm.is_main_process():
            return [*always, evaluation_hook]
        saving = hooks.PeriodicCheckpointer(self.checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD)
        writing = hooks.PeriodicWriter(self.build_writers(), period=20)
        # The checkpoint comes before the evaluation, which may fail and which is written.
        return [*always, saving, evaluation_hook, writing]

    def _precise_bn(self):
        if not (self.cfg.TEST.PRECISE_BN.ENABLED and get_bn_modules(self.model)):
            return None
        cfg = self.cfg.clone()
        cfg.defrost()
        cfg.DATALOADER.NUM_WORKERS = 0
        loader = self.build_train_loader(cfg)  # its own, so as not to take the training's data
        num_iter = cfg.TEST.PRECISE_BN.NUM_ITER
        return hooks.PreciseBN(cfg.TEST.EVAL_PERIOD, self.model, loader, num_iter)

    def _test_and_keep_results(self):
        self._last_eval_results = self.test(self.cfg, self.model)
        return self._last_eval_results

    def build_writers(self):
        """Return :func:`default_writers` for ``cfg.OUTPUT_DIR``."""
        return default_writers(self.cfg.OUTPUT_DIR, self.max_iter)

    def train(self):
        """Train; with ``cfg.TEST.EXPECTED_RESULTS``, check the last results and return them."""
        super().train(self.start_iter, self.max_iter)
        if len(self.cfg.TEST.EXPECTED_RESULTS) == 0 or not comm.is_main_process():
            return None
        results = getattr(self, "_last_eval_results", None)
        assert results is not None, "No evaluation results obtained during training!"
        evaluation.verify_results(self.cfg, results)
        return results

    def run_step(self):
        self._trainer.iter = self.iter
        self._trainer.run_step()

    def state_dict(self):
        return {**super().state_dict(), "_trainer": self._trainer.state_dict()}

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        self._trainer.load_state_dict(state_dict["_trainer"])

    @classmethod
    def build_model(cls, cfg):
        """Return ``cfg.MODEL.META_ARCHITECTURE``."""
        model = build_model(cfg)
        logging.getLogger(__name__).info(f"Model:\n{model}")
        return model

    @classmethod
    def build_optimizer(cls, cfg, model):
        """Return :func:`detectron2.solver.build_optimizer`'s optimizer."""
        return build_optimizer(cfg, model)

    @classmethod
    def build_lr_scheduler(cls, cfg, optimizer):
        """Return :func:`detectron2.solver.build_lr_scheduler`'s schedule."""
        return build_lr_scheduler(cfg, optimizer)

    @classmethod
    def build_train_loader(cls, cfg):
        """Return :func:`detectron2.data.build_detection_train_loader`'s loader."""
        return data.build_detection_train_loader(cfg)

    @classmethod
    def build_test_loader(cls, cfg, dataset_name):
        """Return :func:`detectron2.data.build_detection_test_loader`'s loader."""
        return data.build_detection_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(cls, cfg, dataset_name):
        """Return the evaluator of a dataset; for subclasses."""
        raise NotImplementedError(
            f"to evaluate {dataset_name}, override {cls.__name__}.build_evaluator() or pass "
            "evaluators to test()"
        )

    @classmethod
    def test(cls, cfg, model, evaluators=None):
        """Evaluate a model on all of ``cfg.DATASETS.TEST``.

        Args:
            cfg: the config.
            model: with its weights.
            evaluators: one per dataset; by default from :meth:`build_evaluator`.

        Returns:
            The results by dataset, or those of the only one.
        """
        names = cfg.DATASETS.TEST
        if isinstance(evaluators, evaluation.DatasetEvaluator):
            evaluators = [evaluators]
        assert evaluators is None or len(evaluators) == len(names), (
            f"{len(evaluators)} evaluators for {len(names)} datasets"
        )
        results = OrderedDict()
        for i, name in enumerate(names):
            loader = cls.build_test_loader(cfg, name)
            try:
                evaluator = evaluators[i] if evaluators else cls.build_evaluator(cfg, name)
            except NotImplementedError as error:
                logging.getLogger(__name__).warning(f"No evaluator found: {error}")
                results[name] = {}
                continue
            results[name] = evaluation.inference_on_dataset(model, loader, evaluator)
            if comm.is_main_process():
                _print_results(name, results[name])
        return next(iter(results.values())) if len(results) == 1 else results

    @staticmethod
    def auto_scale_workers(cfg, num_workers):
        """Adapt a config made for another number of workers, keeping the batch of each as it is.

        The whole batch and the rate grow with the number of workers, and all numbers of iterations
        shrink with it (Goyal et al., 2017).

        Args:
            cfg: made for ``cfg.SOLVER.REFERENCE_WORLD_SIZE`` workers; 0 leaves it as it is.
            num_workers: how many there are.

        Returns:
            A new config, or the given one when nothing changes.
        """
        reference = cfg.SOLVER.REFERENCE_WORLD_SIZE
        if reference in (0, num_workers):
            return cfg
        was_frozen = cfg.is_frozen()
        cfg = cfg.clone()
        cfg.defrost()
        solver = cfg.SOLVER
        assert solver.IMS_PER_BATCH % reference == 0, "Invalid REFERENCE_WORLD_SIZE in config!"
        scale = num_workers / reference

        def shrink(iterations):
            return round(iterations / scale)

        solver.IMS_PER_BATCH = round(solver.IMS_PER_BATCH * scale)
        solver.BASE_LR = solver.BASE_LR * scale
        for key in ("MAX_ITER", "WARMUP_ITERS", "CHECKPOINT_PERIOD"):
            solver[key] = shrink(solver[key])
        solver.STEPS = tuple(shrink(step) for step in solver.STEPS)
        cfg.TEST.EVAL_PERIOD = shrink(cfg.TEST.EVAL_PERIOD)
        solver.REFERENCE_WORLD_SIZE = num_workers
        logging.getLogger(__name__).info(
            f"Auto-scaling the config to batch_size={solver.IMS_PER_BATCH}, learning_rate="
            f"{solver.BASE_LR}, max_iter={solver.MAX_ITER}, warmup={solver.WARMUP_ITERS}."
        )
        if was_frozen:
            cfg.freeze()
        return cfg


def _print_results(name, results):
    assert isinstance(results, dict), f"an evaluator must return a dict, not {results}"
    logging.getLogger(__name__).info(f"Evaluation results for {name} in csv format:")
    evaluation.print_csv_format(results)
