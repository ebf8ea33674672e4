"""Searchers that learn from the trials before, by Optuna: `tpe` and `gp`. Needs the extra `search`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from pydantic import Field

from detkit import BuildContext, Options, Searcher, SearcherComponent, UserError, hookimpl

#: How to get what is missing.
INSTALL = 'install it with: pip install "detkit[search]"'


def require(who: str, *modules: str) -> None:
    """Look whether packages are installed, without importing them.

    Raises:
        UserError: one is not; says how to get it.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise UserError(
            f"{who} needs {' and '.join(missing)}, which {'are' if len(missing) > 1 else 'is'} not installed;"
            f' {INSTALL}; or use "random"'
        )


class TpeOptions(Options):
    """`[search] use = "tpe"`"""

    seed: int | None = Field(None, ge=0, description="draws other values; by default derived from the first run's seed")
    startup_trials: int | None = Field(
        None, ge=1, description="trials at random before it learns; by default a quarter of all, at least 2, at most 10"
    )
    multivariate: bool = Field(False, description="whether parameters are looked at together instead of one by one")


def check_tpe(_options: TpeOptions, _context: BuildContext) -> None:
    require("tpe", "optuna")


def build_tpe(options: TpeOptions, context: BuildContext) -> Searcher:
    require("tpe", "optuna")
    from detkit_optuna.searcher import OptunaSearcher, tpe

    seed = context.seed if options.seed is None else options.seed
    return OptunaSearcher(
        lambda drawn, startup, _parameters: tpe(drawn, startup, options.multivariate), seed, options.startup_trials
    )


TPE = SearcherComponent(
    name="tpe",
    options=TpeOptions,
    build=build_tpe,
    summary="tree-structured Parzen estimator: values like those of the better trials",
    check=check_tpe,
    pareto=True,
)


class GpOptions(Options):
    """`[search] use = "gp"`"""

    seed: int | None = Field(None, ge=0, description="draws other values; by default derived from the first run's seed")
    startup_trials: int | None = Field(
        None, ge=1, description="trials at random before it learns; by default a quarter of all, at least 2, at most 10"
    )


def check_gp(_options: GpOptions, _context: BuildContext) -> None:
    require("gp", "optuna", "scipy")


def build_gp(options: GpOptions, context: BuildContext) -> Searcher:
    require("gp", "optuna", "scipy")
    from detkit_optuna.searcher import OptunaSearcher, gp

    seed = context.seed if options.seed is None else options.seed
    return OptunaSearcher(lambda drawn, startup, _parameters: gp(drawn, startup), seed, options.startup_trials)


GP = SearcherComponent(
    name="gp",
    options=GpOptions,
    build=build_gp,
    summary="Gaussian process: the values that promise most; for few trials and few parameters, mostly numbers",
    check=check_gp,
    pareto=True,
)


@hookimpl
def detkit_searchers() -> list[SearcherComponent[Any]]:
    return [TPE, GP]
