"""Dagster's code location: assembles settings, dataset, assets, jobs and schedules, and does nothing else."""

import warnings

import dagster as dg

from assets.chain import build_chain
from assets.resources import RefusingIOManager
from infra.structured_logs import describe
from orchestration.alerts import build_alerts
from orchestration.automation import build_automation
from orchestration.build import build_platform
from orchestration.experiment_job import build_experiment_inputs_job, build_experiment_job
from orchestration.jobs import build_jobs
from orchestration.review_job import build_review_job
from orchestration.rollback_job import build_rollback_job
from orchestration.schedules import build_schedules
from orchestration.settings import Settings, SettingsInvalid, prepare_process, read_settings
from orchestration.tune_job import build_tune_job


def build_definitions(settings: Settings) -> dg.Definitions:
    """Everything that Dagster shows and runs for the dataset in force."""
    prepare_process(settings)
    # Partitioned checks are a preview in dagster 1.13; it says so at every check, in every process.
    warnings.filterwarnings("ignore", category=dg.PreviewWarning)
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    spec = settings.dataset_spec()
    jobs = build_jobs()
    chain = build_chain(spec, pods=settings.step_pods())
    describe(dataset=spec.name, assets={asset.op.name: _names(asset) for asset in chain})
    return dg.Definitions(
        assets=chain,
        jobs=[
            *jobs,
            build_review_job(spec),
            build_rollback_job(spec),
            build_experiment_inputs_job(),
            build_experiment_job(settings, spec),
            build_tune_job(settings, spec),
        ],
        schedules=build_schedules(spec, jobs),
        sensors=[*build_automation(), *build_alerts(settings, spec)],
        resources={
            "platform": dg.ResourceDefinition.hardcoded_resource(build_platform(settings, spec)),
            "io_manager": RefusingIOManager(),
        },
        executor=_executor(settings),
    )


def _names(asset: dg.AssetsDefinition) -> str:
    return ",".join(sorted(key.to_user_string() for key in asset.keys))


def _executor(settings: Settings) -> dg.ExecutorDefinition:
    if settings.executor != "kubernetes":
        return dg.in_process_executor if settings.executor == "in_process" else dg.multiprocess_executor
    try:
        from orchestration.kubernetes_executor import kubernetes_executor
    except ModuleNotFoundError as missing:
        raise SettingsInvalid(
            f"POSTCLICK_EXECUTOR=kubernetes needs {missing.name}, which is not installed: "
            "pip install 'postclick[k8s]', or unset POSTCLICK_EXECUTOR"
        ) from missing
    return kubernetes_executor(settings)


@dg.definitions
def definitions() -> dg.Definitions:
    """The code location of `workspace.yaml`; the dataset is `POSTCLICK_DATASET`."""
    return build_definitions(read_settings())
