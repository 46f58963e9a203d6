"""Planted defects from every room of the library: what a test suite is for.

Each is a piece of text that occurs exactly once in a file, what takes its place, and what is then broken. The tests named with
it are only where to look first; `run.py` goes on to the whole short suite.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Defect(NamedTuple):
    """One planted defect.

    Attributes:
        name: what to call it, `room-what`.
        file: path from the repository's root.
        before: text that occurs exactly once in the file.
        after: what takes its place.
        broken: what is then wrong, in a few words.
        hints: test files that are likely to notice.
    """

    name: str
    file: str
    before: str
    after: str
    broken: str
    hints: tuple[str, ...]

    def planted(self, root: Path = ROOT) -> str:
        """Return the text of the file with the defect in it.

        Raises:
            ValueError: its text is not there exactly once, or a file named with it does not exist.
        """
        unfit = f"{self.name}: this defect no longer fits the code, rewrite it"
        missing = [name for name in (self.file, *self.hints) if not (root / name).exists()]
        if missing:
            raise ValueError(f"{unfit}: there is no {missing[0]}")
        text = (root / self.file).read_text(encoding="utf-8")
        if text.count(self.before) != 1:
            raise ValueError(f"{unfit}: its text is {text.count(self.before)} times in {self.file}")
        return text.replace(self.before, self.after)


DEFECTS = (
    # -- diffusion -------------------------------------------------------------------------------------------------
    Defect(
        "process-sign",
        "cepkit/diffusion/process.py",
        "return -eps / sigma_t",
        "return eps / sigma_t",
        "the score has the sign of the noise",
        ("tests/diffusion/test_process.py",),
    ),
    Defect(
        "process-alpha",
        "cepkit/diffusion/process.py",
        "return (x_t - sigma_t * eps) / alpha_t",
        "return x_t - sigma_t * eps",
        "Tweedie's formula lacks 1/alpha_t",
        ("tests/diffusion/test_process.py",),
    ),
    Defect(
        "schedule-factor",
        "cepkit/diffusion/schedules.py",
        "* t / 4 + self.beta_min / 2)",
        "* t / 4 + self.beta_min)",
        "beta_min counts twice in the VP-linear schedule",
        ("tests/diffusion/test_schedules.py",),
    ),
    Defect(
        "guidance-broadcast",
        "cepkit/calling.py",
        "if value.shape != shape:",
        "if value.numel() == 0:",
        "a guidance of one column is broadcast over the coordinates",
        ("tests/test_calling.py", "tests/diffusion/test_handed_in.py"),
    ),
    Defect(
        "call-in-place",
        "cepkit/calling.py",
        "value = function(x.clone(), ",
        "value = function(x, ",
        "a callable may change the sampler's own points",
        ("tests/test_calling.py", "tests/diffusion/test_handed_in.py"),
    ),
    Defect(
        "schedule-not-preserving",
        "cepkit/calling.py",
        "float(low) > 0.999 and float(high) < 1.001",
        "float(low) > 0",
        "rectified flow is sampled with the noise and the v of another schedule",
        ("tests/diffusion/test_handed_in.py",),
    ),
    Defect(
        "sampler-end",
        "cepkit/diffusion/sampling.py",
        "if reached[i + 1] == 0:",
        "if reached[i + 1] < 0:",
        "a model of few levels keeps its least noise",
        ("tests/diffusion/test_handed_in.py", "tests/debugger/test_debugger_adapters.py"),
    ),
    Defect(
        "sampler-order",
        "cepkit/diffusion/sampling.py",
        "h[i] / (2 * h[i - 1])",
        "h[i - 1] / (2 * h[i])",
        "the two step sizes of the multistep solver are swapped",
        ("tests/diffusion/test_sampling.py",),
    ),
    Defect(
        "sampler-variance",
        "cepkit/diffusion/sampling.py",
        "fresh = -torch.expm1(-2 * h)",
        "fresh = -torch.expm1(-h)",
        "the ancestral step adds too little noise",
        ("tests/diffusion/test_sampling.py",),
    ),
    Defect(
        "guidance-radius",
        "cepkit/diffusion/guidance.py",
        "(alpha_t**2 * self.data_std**2 + sigma_t**2)",
        "(self.data_std**2 + sigma_t**2)",
        "the cloud of LGD-MC lacks alpha_t^2",
        ("tests/diffusion/test_guidance.py",),
    ),
    # -- truth -----------------------------------------------------------------------------------------------------
    Defect(
        "tilt-dimension",
        "cepkit/truth/components.py",
        "self.dim / 2 * shrink.log()",
        "shrink.log() / 2",
        "the tilted weights forget the dimension",
        ("tests/truth/test_components.py", "tests/truth/test_exact.py"),
    ),
    Defect(
        "exact-sign",
        "cepkit/truth/posterior.py",
        "tilted.pull(tilted_posterior) - score",
        "score - tilted.pull(tilted_posterior)",
        "exact guidance of a quadratic energy points uphill",
        ("tests/truth/test_exact.py",),
    ),
    Defect(
        "mean-energy-baseline",
        "cepkit/truth/posterior.py",
        "posterior * (energies - mean[:, None])",
        "posterior * energies",
        "the gradient of the mean energy depends on the zero of the energy",
        ("tests/truth/test_exact.py",),
    ),
    Defect(
        "shortfall-unsaid",
        "cepkit/learning/sufficiency.py",
        "if not row[1] <= max(min(row[2], 1), _NEAR)",
        "if row[1] > 10 * max(min(row[2], 1), _NEAR)",
        "a training whose guidance is worse than the mean energy says nothing",
        ("tests/learning/test_sufficiency.py",),
    ),
    Defect(
        "box-edge",
        "cepkit/truth/kernels.py",
        "erfcx_positive(outward - inward)",
        "erfcx_positive(low.abs())",
        "automatic differentiation loses half the slope on the exact edge of a box",
        ("tests/truth/test_kernels.py", "tests/truth/test_exact.py"),
    ),
    Defect(
        "far-digits",
        "cepkit/truth/posterior.py",
        "peak = 0.0 if shared else view.take_out_peak()",
        "peak = 0.0",
        "float32 energies far from the data are rounded away beside the log densities",
        ("tests/truth/test_exact.py",),
    ),
    Defect(
        "table-stale",
        "cepkit/lab/gridded.py",
        "self.keep((float(t), schedule, beta), make)",
        "self.keep((float(t), schedule, beta is None), make)",
        "a table of one beta is served for every other",
        ("tests/lab/test_gridded.py",),
    ),
    Defect(
        "mmd-factor",
        "cepkit/truth/metrics.py",
        "within - 2 * total(x, y)",
        "within - total(x, y)",
        "MMD^2 lacks the 2 of its cross term",
        ("tests/truth/test_metrics.py",),
    ),
    Defect(
        "toy-label",
        "cepkit/truth/toys.py",
        "return x + std * _normal(n, generator), 1 - lower",
        "return x + std * _normal(n, generator), lower",
        "samples of the moons carry the energy of the other moon",
        ("tests/truth/test_toys.py",),
    ),
    Defect(
        "csv-column",
        "cepkit/truth/own_points.py",
        "return Table(table[:, :-1], table[:, -1], about)",
        "return Table(table[:, 1:], table[:, 0], about)",
        "the first column of a CSV file is taken for the energy",
        ("tests/truth/test_toys.py",),
    ),
    Defect(
        "csv-row-numbers",
        "cepkit/truth/own_points.py",
        'if names and (not names[0] or names[0].startswith("Unnamed:")):',
        'if names and names[0].startswith("Unnamed:"):',
        "the row numbers of a table become a coordinate",
        ("tests/truth/test_own_points.py",),
    ),
    Defect(
        "scaling-one-spread",
        "cepkit/truth/scaling.py",
        "mean, std = x.mean(0), x.std(0, correction=0)",
        "mean, std = x.mean(0), x.std(correction=0).expand(x.shape[1])",
        "one spread for all columns",
        ("tests/truth/test_own_points.py",),
    ),
    Defect(
        "error-scale",
        "cepkit/truth/metrics.py",
        "return torch.where(size > NEGLIGIBLE**2 * whole, size, whole).sqrt()",
        "return size.sqrt()",
        "an error is relative to a field that vanishes",
        ("tests/truth/test_metrics.py",),
    ),
    # -- learning --------------------------------------------------------------------------------------------------
    Defect(
        "cep-sign",
        "cepkit/learning/losses.py",
        "(-f).log_softmax(-1)",
        "f.log_softmax(-1)",
        "the energy net learns the negative energy",
        ("tests/learning/test_losses.py",),
    ),
    Defect(
        "pooled-alpha",
        "cepkit/learning/losses.py",
        "torch.cdist(x_t, alpha_t * x0,",
        "torch.cdist(x_t, x0,",
        "pooled labels look for x_t round x_0 instead of alpha_t x_0",
        ("tests/learning/test_losses.py",),
    ),
    Defect(
        "average-swapped",
        "cepkit/learning/networks.py",
        "list(self.parameters.values()), 1 - decay)",
        "list(self.parameters.values()), decay)",
        "the moving average follows the newest weights",
        ("tests/learning/test_fit.py",),
    ),
    Defect(
        "resume-stream",
        "cepkit/learning/run.py",
        "generator.set_state(tensors[name].cpu())",
        "pass",
        "a resumed run starts its random stream afresh",
        ("tests/learning/test_loop.py", "tests/learning/test_run.py"),
    ),
    Defect(
        "write-in-place",
        "cepkit/learning/checkpoints.py",
        'partial = path.with_name(f".{path.name}.partial")',
        "partial = path",
        "a full disk or a kill leaves half a file in place of the last save",
        ("tests/learning/test_checkpoints.py", "tests/learning/test_run.py"),
    ),
    # -- course and plots --------------------------------------------------------------------------------------------
    Defect(
        "check-hint",
        "cepkit/course/notebook.py",
        "_largest(given + wanted)",
        "_largest(given - 2 * wanted)",
        "an exercise's answer of the wrong sign is not told so",
        ("tests/course/test_notebook.py",),
    ),
    Defect(
        "comparison-floor",
        "cepkit/course/comparison.py",
        "max(getattr(row, field) for row in floor)",
        "min(getattr(row, field) for row in floor)",
        "the floor of a comparison is its luckiest try",
        ("tests/course/test_comparison.py",),
    ),
    Defect(
        "comparison-escape",
        "cepkit/course/comparison.py",
        "html.escape(self.toy)",
        "self.toy",
        "the name of a dataset runs as a script in the notebook",
        ("tests/course/test_comparison.py",),
    ),
    Defect(
        "picture-axes",
        "cepkit/plots.py",
        'indexing="xy"',
        'indexing="ij"',
        "pictures have their axes swapped",
        ("tests/test_plots.py",),
    ),
    # -- canvas and lab ------------------------------------------------------------------------------------------------
    Defect(
        "worker-lock",
        "cepkit/canvas/worker.py",
        "with self._lock, one_thread():",
        "with one_thread():",
        "two threads advance one generator",
        ("tests/canvas/test_worker.py",),
    ),
    Defect(
        "worker-threads",
        "cepkit/canvas/worker.py",
        "with self._lock, one_thread():",
        "with self._lock:",
        "a lab on a busy machine waits for its own threads",
        ("tests/canvas/test_worker.py",),
    ),
    Defect(
        "page-escape",
        "cepkit/lab/page.py",
        '.replace("<", "\\\\u003c")',
        "",
        "a name can close the data of a saved page and run as a script",
        ("tests/lab/test_page.py",),
    ),
    Defect(
        "page-interpolation",
        "cepkit/lab/js/page.js",
        "part * (b[i] - a[i])",
        "part * (a[i] - b[i])",
        "a saved page moves particles away from the next scale (seen where there is a browser)",
        ("tests/browser/test_page_in_browser.py",),
    ),
    Defect(
        "panel-failure",
        "cepkit/lab/panels.py",
        "if field is None or self.failure:",
        "if field is None:",
        "a callable that has failed is asked again and its panel flickers",
        ("tests/lab/test_panels.py",),
    ),
    Defect(
        "dps-transposed",
        "cepkit/lab/tabulated.py",
        "[(by_x * slope).sum(-1), (by_y * slope).sum(-1)]",
        "[(by_y * slope).sum(-1), (by_x * slope).sum(-1)]",
        "the tabulated DPS has its components swapped",
        ("tests/lab/test_tabulated.py",),
    ),
    # -- debugger ------------------------------------------------------------------------------------------------------
    Defect(
        "curl-sign",
        "cepkit/debugger/checks/curl.py",
        "(jacobian - jacobian.mT) / 2",
        "(jacobian + jacobian.mT) / 2",
        "every gradient field is said to have curl",
        ("tests/debugger/test_debugger_faults.py",),
    ),
    Defect(
        "probe-batch-order",
        "cepkit/debugger/probes.py",
        "self.share(moved, whole[order])",
        "self.share(moved, whole)",
        "rows that come back in their order are said not to",
        ("tests/debugger/test_debugger_probes.py",),
    ),
    Defect(
        "probe-buffers",
        "cepkit/debugger/probes.py",
        "buffer.copy_(before)",
        "pass",
        "looking at a network changes its batch normalisation",
        ("tests/debugger/test_debugger_probes.py",),
    ),
    Defect(
        "probe-seed",
        "cepkit/debugger/calls.py",
        "torch.manual_seed(self.seed)",
        "pass",
        "a random field is another one at each call, and its steps are blamed",
        ("tests/debugger/test_debugger_probes.py",),
    ),
    Defect(
        "guided-mean",
        "cepkit/debugger/checks/norm_ratio.py",
        "guided = score + scene.scale * guidance",
        "guided = score",
        "a guidance that points out of the data is not seen without a truth",
        ("tests/debugger/test_debugger_faults.py",),
    ),
    Defect(
        "energy-of-components",
        "cepkit/debugger/checks/samples.py",
        "for points in (x, exact, data)",
        "for points in (x, data, data)",
        "the samples are compared with the data's energies",
        ("tests/debugger/test_debugger_faults.py",),
    ),
    Defect(
        "report-escape",
        "cepkit/debugger/report.py",
        "autoescape=True",
        "autoescape=False",
        "an error message runs as a script in the report",
        ("tests/debugger/test_debugger_report.py",),
    ),
    Defect(
        "network-mode",
        "cepkit/calling.py",
        "module.training = False",
        "module.training = True",
        "a network with dropout is used in training mode",
        ("tests/test_calling.py", "tests/debugger/test_debugger_adapters.py"),
    ),
    # -- offline RL ------------------------------------------------------------------------------------------------------
    Defect(
        "successor-index",
        "cepkit/rl/data/transitions.py",
        "states[rows + 1]",
        "states[rows]",
        "every state is its own successor",
        ("tests/rl/data/test_transitions.py",),
    ),
    Defect(
        "checksum-ignored",
        "cepkit/rl/data/downloads.py",
        "if found != sha256:",
        "if not found:",
        "a data file that has changed is used without a word",
        ("tests/rl/data/test_downloads.py",),
    ),
    Defect(
        "maze-flipped",
        "cepkit/rl/envs/maze.py",
        "_ROWS / 2 - (row + 0.5)",
        "(row + 0.5) - _ROWS / 2",
        "the maze is drawn and checked upside down",
        ("tests/rl/envs/test_maze.py",),
    ),
    Defect(
        "engine-constants",
        "cepkit/rl/envs/engines.py",
        "mujoco.mj_setConst(model, simulation.data)",
        "pass",
        "D4RL's inertia is written but what follows from it is not",
        ("tests/rl/envs/test_engines.py",),
    ),
    Defect(
        "terminal-factor",
        "cepkit/rl/agent/critic.py",
        "return rewards + discount * not_done * (weight * q_next).sum(-1)",
        "return rewards + discount * (weight * q_next).sum(-1)",
        "Q goes on behind a terminal",
        ("tests/rl/agent/test_critic.py",),
    ),
    Defect(
        "support-stale",
        "cepkit/rl/agent/qgpo_run.py",
        '(folder / f"{later}.safetensors").unlink(missing_ok=True)',
        "pass",
        "support actions of other weights are used when the behaviour is trained again",
        ("tests/rl/agent/test_qgpo_run.py",),
    ),
    Defect(
        "stage-resume",
        "cepkit/rl/agent/stage.py",
        "generator.set_state(mine.clone())",
        "pass",
        "a resumed stage draws other random numbers",
        ("tests/rl/agent/test_qgpo_run.py",),
    ),
    Defect(
        "evaluation-stale",
        "cepkit/rl/study/results.py",
        "kept = result is not None and result.settings == settings",
        "kept = result is not None",
        "an evaluation of other weights is reported again",
        ("tests/rl/study/test_evaluate_run.py",),
    ),
    Defect(
        "scale-selection",
        "cepkit/rl/study/leaderboard.py",
        "return ScaleChoice(best, seeds[1:],",
        "return ScaleChoice(best, seeds,",
        "the scale is reported on the episodes that it was chosen on",
        ("tests/rl/study/test_leaderboard.py",),
    ),
    Defect(
        "interval-over-runs",
        "cepkit/rl/study/evaluate.py",
        "student_t.ppf(0.975, len(means) - 1)",
        "student_t.ppf(0.975, 10**9)",
        "the interval of a few trainings is a normal one, and covers too seldom",
        ("tests/rl/study/test_evaluate.py",),
    ),
    Defect(
        "interval-of-episodes",
        "cepkit/rl/study/evaluate.py",
        "means = values.mean(1)",
        "means = values.flatten()",
        "episodes of one training count as if each were a training",
        ("tests/rl/study/test_evaluate.py",),
    ),
    Defect(
        "leaderboard-weights",
        "cepkit/rl/study/leaderboard.py",
        "if r.weights != weights:",
        "if False:",
        "evaluations of half-trained and of final weights are pooled",
        ("tests/rl/study/test_leaderboard.py",),
    ),
    # -- commands --------------------------------------------------------------------------------------------------------
    Defect(
        "command-handler",
        "cepkit/commands/progress.py",
        "            bar.close()\n        signal.signal(signal.SIGINT, before)",
        "            bar.close()",
        "Ctrl-C stays ours after a training",
        ("tests/commands/test_run_commands.py",),
    ),
    Defect(
        "command-report",
        "cepkit/commands/options.py",
        "        if path.exists():",
        "if False:",
        "a report replaces a file of the user's",
        ("tests/commands/test_result_commands.py",),
    ),
    # -- files -----------------------------------------------------------------------------------------------------------
    Defect(
        "checkpoint-seal",
        "cepkit/learning/checkpoints.py",
        "if found != written:",
        "if False:",
        "a flipped bit in the weights goes unseen",
        ("tests/commands/test_planted_files.py",),
    ),
    Defect(
        "config-missing",
        "cepkit/settings.py",
        "        if missing:",
        "        if False:",
        "a setting that is missing from a run is today's default",
        ("tests/commands/test_planted_files.py",),
    ),
    Defect(
        "hdf5-memory",
        "cepkit/rl/data/hdf5.py",
        "            check_memory(need,",
        "            check_memory(0,",
        "the size that a file declares is believed",
        ("tests/rl/data/test_hdf5.py",),
    ),
    Defect(
        "hdf5-foreign",
        "cepkit/rl/data/hdf5.py",
        '    return "external storage" if file[key].external else ',
        "    return ",
        "a data file reads any file of the machine as data",
        ("tests/rl/data/test_hdf5.py",),
    ),
    Defect(
        "download-redirect",
        "cepkit/rl/data/downloads.py",
        "    if response.is_redirect:",
        "    if False:",
        "a host may lead to any other place",
        ("tests/rl/data/test_downloads.py",),
    ),
    Defect(
        "explanation-time",
        "cepkit/debugger/explanations/time_mistakes.py",
        '"time reversed", words, repair, lambda t: 1 - t)',
        '"time reversed", words, repair, lambda t: t)',
        "a time that runs the other way is not recognised",
        ("tests/debugger/test_explanations.py",),
    ),
    Defect(
        "across-time-sign",
        "cepkit/debugger/checks/across_time.py",
        "energy = -(force.mean(0)",
        "energy = (force.mean(0)",
        "the energies that a guidance implies have the wrong sign",
        ("tests/debugger/test_explanations.py",),
    ),
    Defect(
        "explanation-accepted",
        "cepkit/debugger/diagnosis.py",
        "return Diagnosis(before, after, candidate, factor, floor=case.floor, case=case) if after <= limit else None",
        "return Diagnosis(before, after, candidate, factor, floor=case.floor, case=case)",
        "an explanation is named that removes nothing",
        ("tests/debugger/test_explanations.py",),
    ),
)
