"""Trains and evaluates variants of one model, and puts them side by side in a table."""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from freeseg.files import write_text

logger = logging.getLogger(__name__)

RESULTS = "results.json"  # what `report_results` leaves in a finished run's folder
WEIGHTS = "model_final.pth"


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        name: For people.
        folder: Of its runs.
        options: Overrides of the configuration, KEY VALUE KEY VALUE.
        prompts: Folder of the prompt stage whose result it uses frozen; empty: none.
        weights_of: Folder of the variant whose weights are evaluated; empty: it is trained.
        config: Instead of the study's.
    """

    name: str
    folder: str
    options: tuple[str, ...] = ()
    prompts: str = ""
    weights_of: str = ""
    config: Path | None = None


@dataclass(frozen=True)
class Metric:
    """One column of the table: where a result stands, and what it is called."""

    name: str
    task: str
    key: str


@dataclass(frozen=True)
class Study:
    """Everything that is trained, in order; what exists is not trained again.

    Attributes:
        tool: Path of tools/train_net.py.
        config: Of the main stage.
        variants: Rows of the table; a variant stands behind the one whose weights it uses.
        metrics: Columns.
        prompt_config: Of the prompt stage.
        prompt_stages: Folder of every prompt stage and its overrides.
    """

    tool: Path
    config: Path
    variants: tuple[Variant, ...]
    metrics: tuple[Metric, ...]
    prompt_config: Path = Path()
    prompt_stages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def select(self, folders: Sequence[str]) -> Study:
        """The study of some variants, by their folders.

        Raises:
            ValueError: On an unknown one, or one whose weights come from a variant left out.
        """
        known = {variant.folder: variant for variant in self.variants}
        needed = {known[name].weights_of for name in folders if name in known} - {""}
        missing = [*(set(folders) - set(known)), *(needed - set(folders))]
        if missing:
            raise ValueError(
                f"wanted variants among {', '.join(known)}, with those whose weights they use; "
                f"look at {', '.join(sorted(missing))}"
            )
        return replace(self, variants=tuple(v for v in self.variants if v.folder in folders))

    def run(self, output: Path, seeds: Sequence[int], options: Sequence[str]) -> str:
        """Trains and evaluates what is missing, writes ``table.md`` after every run.

        Args:
            output: Folder of all runs.
            seeds: Every variant is run once per seed.
            options: Overrides for all runs.

        Returns:
            The table.
        """
        for seed in seeds:
            base = output / f"seed{seed}"
            for stage, changes in self.prompt_stages.items():
                if any(variant.prompts == stage for variant in self.variants):
                    arguments = [*changes, *options, "SEED", str(seed)]
                    self._train(self.prompt_config, base / stage, arguments, WEIGHTS)
            for variant in self.variants:
                self._run_variant(variant, base, seed, options)
                self.write_table(output, seeds)
        return self.write_table(output, seeds)

    def write_table(self, output: Path, seeds: Sequence[int]) -> str:
        """Markdown table of all finished runs, means over the seeds; also in ``table.md``."""
        head = ["variant", "runs", *(metric.name for metric in self.metrics)]
        lines = [head, ["---", *["---:"] * (len(head) - 1)]]
        for variant in self.variants:
            files = [output / f"seed{seed}" / variant.folder / RESULTS for seed in seeds]
            runs = [json.loads(file.read_text()) for file in files if file.is_file()]
            values = [mean([read_metric(run, metric) for run in runs]) for metric in self.metrics]
            lines.append([variant.name, str(len(runs)), *values])
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        output.mkdir(parents=True, exist_ok=True)
        write_text(output / "table.md", table + "\n")
        return table

    def _run_variant(self, variant: Variant, base: Path, seed: int, options: Sequence[str]) -> None:
        arguments = [*variant.options, *options, "SEED", str(seed)]
        config = variant.config or self.config
        if variant.prompts:
            checkpoint = base / variant.prompts / WEIGHTS
            arguments += ["MODEL.CLIP_ADAPTER.PROMPT_CHECKPOINT", str(checkpoint)]
        if variant.weights_of:
            weights = base / variant.weights_of / WEIGHTS
            arguments = ["MODEL.WEIGHTS", str(weights), *arguments]
            self._train(config, base / variant.folder, arguments, RESULTS, "--eval-only")
        else:
            self._train(config, base / variant.folder, arguments, RESULTS)

    def _train(
        self, config: Path, folder: Path, options: Sequence[str], result: str, *flags: str
    ) -> None:
        """Runs train_net.py unless its result is there; a broken run goes on where it was."""
        if (folder / result).is_file():
            logger.info("%s is done", folder)
            return
        mode = flags or ("--resume",)
        command = [sys.executable, str(self.tool), "--config-file", str(config), *mode]
        logger.info("%s is run", folder)
        subprocess.run([*command, *options, "OUTPUT_DIR", str(folder)], check=True)


def read_metric(results: Mapping[str, Any], metric: Metric) -> float:
    """A value of the first dataset in a ``results.json``; NaN where there is none."""
    tasks = next(iter(results.values()))
    value = tasks.get(metric.task, {}).get(metric.key)
    return math.nan if value is None else float(value)


def mean(values: Sequence[float]) -> str:
    """Mean and, of several values, the half spread; a dash where nothing was measured."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "-"
    centre = f"{sum(known) / len(known):.1f}"
    return centre if len(known) < 2 else f"{centre} ±{(max(known) - min(known)) / 2:.1f}"
