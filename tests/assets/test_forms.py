"""The launchpad's forms: what a person may set is checked before anything runs, and absent values are the spec's."""

from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from assets.forms import ModelForm, ModelName, PretrainingForm, WindowForm, shown_with_defaults
from assets.models import build as build_models
from ml.data.dataset import DatasetSpec
from ml.data.policy import WindowPolicy
from ml.models.configs.catalog import model_names, parse_model_config


def test_absent_window_settings_are_the_specs_and_set_ones_the_forms(spec: DatasetSpec):
    assert WindowForm().policy(spec) == spec.window
    expected = WindowPolicy(window_days=5, min_days=spec.window.min_days, max_missing_days=0)
    assert WindowForm(window_days=5, max_missing_days=0).policy(spec) == expected


@pytest.mark.parametrize(
    ("form", "values", "named"),
    [
        (WindowForm, {"window_days": 0}, "window_days"),
        (WindowForm, {"max_missing_days": -1}, "max_missing_days"),
        (PretrainingForm, {"epochs": 0}, "epochs"),
        (PretrainingForm, {"seed": -1}, "seed"),
        (PretrainingForm, {"seed": 2**31}, "seed"),
        (ModelForm, {"learning_rate": 0}, "learning_rate"),
        (ModelForm, {"learning_rate": 1.5}, "learning_rate"),
        (ModelForm, {"batch_size": 0}, "batch_size"),
        (ModelForm, {"epochs": "many"}, "epochs"),
        (ModelForm, {"model": "resnet"}, "model"),
        (ModelForm, {"delayed_feedback": "exponential"}, "delayed_feedback"),
    ],
)
def test_a_wrong_value_is_named(form: type[WindowForm], values: dict[str, Any], named: str):
    with pytest.raises(ValidationError) as error:
        form(**values)
    assert any(named in fault["loc"] for fault in error.value.errors())


@pytest.mark.parametrize("config", [{"modle": "mlp"}, {"model": "resnet"}, {"epochs": "many"}, {"settings": 3}])
def test_the_launchpad_refuses_a_wrong_form(spec: DatasetSpec, config: dict[str, Any]):
    platform = dg.ResourceDefinition.hardcoded_resource(None)
    definitions = dg.Definitions(
        build_models(spec), jobs=[dg.define_asset_job("job")], resources={"platform": platform}
    )
    job = definitions.resolve_job_def("job")
    right = {"model": "mlp", "epochs": 1, "delayed_feedback": "elapsed_time"}
    dg.validate_run_config(job, {"ops": {"cvr_model": {"config": right}}})
    with pytest.raises(dg.DagsterInvalidConfigError):
        dg.validate_run_config(job, {"ops": {"cvr_model": {"config": config}}})


def test_a_window_that_no_log_could_pass_is_refused(spec: DatasetSpec):
    with pytest.raises(ValidationError, match="min_days 9 is above window_days 3"):
        WindowForm(min_days=9).policy(spec)


def test_the_form_offers_every_model_that_can_be_trained_and_no_other():
    names: Any = ModelName
    assert [name.value for name in names] == list(model_names())
    assert {"mlp", "esmm", "cstwa"} <= set(model_names())
    assert "ctr" not in model_names(), "the pre-training model is no conversion model"


def test_the_specs_model_keeps_its_settings_under_the_forms_own(spec: DatasetSpec):
    size = spec.training.embedding_dim
    tower = {"tower_widths": [8], "tower_dropout": [0.0]}
    assert ModelForm().model_settings(spec) == {"name": "esmm", "embedding_size": size, **tower}
    changed = ModelForm(model="esmm", settings={"tower_widths": [4], "embedding_size": 3}).model_settings(spec)  # type: ignore[arg-type]
    assert changed == {"name": "esmm", "embedding_size": 3, "tower_widths": [4], "tower_dropout": [0.0]}


@pytest.mark.parametrize("name", [name for name in model_names() if name != "esmm"])
def test_another_model_does_not_inherit_settings_that_are_not_its_own(spec: DatasetSpec, name: str):
    settings = ModelForm(model=name).model_settings(spec)  # type: ignore[arg-type]
    assert settings == {"name": name, "embedding_size": spec.training.embedding_dim}
    assert parse_model_config(settings).name == name


def test_the_model_is_not_renamed_by_its_settings(spec: DatasetSpec):
    form = ModelForm(model="mlp", settings={"name": "cstwa"})  # type: ignore[arg-type]
    assert form.model_settings(spec)["name"] == "mlp"


def test_the_launchpad_shows_the_specs_values_and_still_checks_what_is_set(spec: DatasetSpec):
    form = shown_with_defaults(ModelForm, spec)
    shown = form()
    assert shown.model is not None
    assert shown.model.value == spec.training.model["name"]
    assert (shown.epochs, shown.batch_size, shown.learning_rate) == (3, 128, 0.01)
    assert shown.policy(spec) == spec.window
    assert shown.model_settings(spec) == ModelForm().model_settings(spec)
    assert shown_with_defaults(PretrainingForm, spec)().epochs == spec.training.pretraining_epochs
    assert shown.delayed_feedback is not None
    assert shown.delayed_feedback.value == spec.training.delayed_feedback == "none"
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        form(epochs=0)
    config = build_models(spec)[0].op.config_schema.config_type
    assert {name: field.default_value for name, field in config.fields.items()}["epochs"] == 3
