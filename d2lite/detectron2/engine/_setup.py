"""Set-up of a run: arguments, loggers, seeds, writers, the model for several processes."""

from __future__ import annotations

import argparse
import os
import sys

import torch
from torch.nn.parallel import DistributedDataParallel

from detectron2.config import CfgNode, LazyConfig
from detectron2.utils import comm
from detectron2.utils.collect_env import collect_env_info
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import CommonMetricPrinter, JSONWriter, TensorboardXWriter
from detectron2.utils.file_io import PathManager
from detectron2.utils.logger import setup_logger


def create_ddp_model(model, *, fp16_compression=False, **kwargs):
    """Wrap a model for distributed training if there are several processes.

    Args:
        model: on its device already.
        fp16_compression: send gradients in half precision.
        **kwargs: of DistributedDataParallel. ``device_ids`` is this process's GPU by default, and
            None for a model on the CPU.
    """
    if comm.get_world_size() == 1:
        return model
    is_on_gpu = any(parameter.is_cuda for parameter in model.parameters())
    kwargs.setdefault("device_ids", [comm.get_local_rank()] if is_on_gpu else None)
    ddp = DistributedDataParallel(model, **kwargs)
    if fp16_compression:
        from torch.distributed.algorithms.ddp_comm_hooks import default as comm_hooks

        ddp.register_comm_hook(state=None, hook=comm_hooks.fp16_compress_hook)
    return ddp


def default_argument_parser(epilog=None):
    """Return a parser of the usual arguments; ``epilog`` replaces its examples."""
    script = sys.argv[0]
    parser = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=epilog
        or f"""examples:
  two GPUs:         {script} --config-file cfg.yaml --num-gpus 2
  changed options:  {script} --config-file cfg.yaml SOLVER.BASE_LR 0.001 MODEL.WEIGHTS x.pth
  two machines:     {script} --machine-rank 0 --num-machines 2 --dist-url tcp://HOST:PORT ...
                    {script} --machine-rank 1 --num-machines 2 --dist-url tcp://HOST:PORT ...
""",
    )
    # The port depends on the user alone: a process left over from before is noticed, since it
    # still has the port.
    port = 2**15 + 2**14 + hash(os.getuid() if sys.platform != "win32" else 1) % 2**14
    add = parser.add_argument
    add("--config-file", default="", metavar="FILE", help="path to config file")
    add("--resume", action="store_true", help="continue from the last checkpoint, if there is one")
    add("--eval-only", action="store_true", help="evaluate without training")
    add("--num-gpus", type=int, default=1, help="processes, each with a GPU, *per machine*")
    add("--num-machines", type=int, default=1, help="number of machines")
    add("--machine-rank", type=int, default=0, help="number of this machine, from 0")
    add(
        "--dist-url",
        default=f"tcp://127.0.0.1:{port}",
        help="where the processes meet; see torch.distributed.init_process_group",
    )
    add(
        "opts",
        nargs=argparse.REMAINDER,
        default=None,
        help="changed options at the end: KEY VALUE pairs for yaml configs, "
        "key=value for Python configs",
    )
    return parser


def default_setup(cfg, args):
    """Set up loggers, log what runs where, save the config, seed the random generators.

    Args:
        cfg: CfgNode or DictConfig.
        args: command line arguments; ``config_file`` and ``eval_only`` are read if there.
    """
    output_dir = _try_get_key(cfg, "OUTPUT_DIR", "output_dir", "train.output_dir")
    is_writer = comm.is_main_process() and bool(output_dir)
    if is_writer:
        PathManager.mkdirs(output_dir)
    rank = comm.get_rank()
    setup_logger(output_dir, distributed_rank=rank, name="fvcore")
    logger = setup_logger(output_dir, distributed_rank=rank)
    logger.info(f"Rank of current process: {rank}. World size: {comm.get_world_size()}")
    logger.info("Environment info:\n" + collect_env_info())
    logger.info(f"Command line arguments: {args}")
    config_file = getattr(args, "config_file", "")
    if config_file != "":
        with PathManager.open(config_file, "r") as file:
            content = _highlight(file.read(), config_file)
        logger.info(f"Contents of args.config_file={config_file}:\n{content}")
    if is_writer:
        _save_config(cfg, os.path.join(output_dir, "config.yaml"), logger)

    seed = _try_get_key(cfg, "SEED", "train.seed", default=-1)
    seed_all_rng(None if seed < 0 else seed + rank)
    if not getattr(args, "eval_only", False):  # a search does not pay for few images
        torch.backends.cudnn.benchmark = _try_get_key(
            cfg, "CUDNN_BENCHMARK", "train.cudnn_benchmark", default=False
        )
    precision = _try_get_key(cfg, "FLOAT32_PRECISION", "train.float32_precision", default="")
    if precision != "" and torch.cuda.is_available():
        logger.info(f"Precision of float32 products: {precision}")
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = precision != "highest"


def _save_config(cfg, path, logger):
    if isinstance(cfg, CfgNode):
        content = cfg.dump()
        logger.info(f"Running with full config:\n{_highlight(content, '.yaml')}")
        with PathManager.open(path, "w") as file:
            file.write(content)
    else:
        LazyConfig.save(cfg, path)
    logger.info(f"Full config saved to {path}")


def _try_get_key(cfg, *keys, default=None):
    """Return the value of the first of the dotted keys that the config has."""
    for key in keys:
        node = cfg
        for part in key.split("."):
            node = node.get(part) if hasattr(node, "get") else None
            if node is None:
                break
        else:
            return node
    return default


def _highlight(code, filename):
    """Colour yaml or Python for a terminal when pygments is installed."""
    try:
        import pygments
        from pygments.formatters import Terminal256Formatter
        from pygments.lexers import Python3Lexer, YamlLexer
    except ImportError:
        return code
    lexer = Python3Lexer() if filename.endswith(".py") else YamlLexer()
    return pygments.highlight(code, lexer, Terminal256Formatter(style="monokai"))


def default_writers(output_dir, max_iter=None):
    """Return writers for the terminal, ``metrics.json`` and tensorboard, all in ``output_dir``."""
    PathManager.mkdirs(output_dir)
    return [
        CommonMetricPrinter(max_iter),
        JSONWriter(os.path.join(output_dir, "metrics.json")),
        TensorboardXWriter(output_dir),
    ]
