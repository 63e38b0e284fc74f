"""A job of two steps that say, warn and fail in every way that ends on the console, for the tests of its lines."""

import logging
import threading
import warnings

import dagster as dg


class Unraisable:
    """Fails where nobody can catch it."""

    def __del__(self) -> None:
        raise OSError("in a finalizer")


@dg.op
def speaks(context: dg.OpExecutionContext) -> None:
    context.log.info("of two\nlines")
    logging.getLogger("library").warning("of a library")
    logging.getLogger("library").warning("%d of a library", "one")
    warnings.warn("careful", stacklevel=1)
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    Unraisable()


@dg.op(ins={"after": dg.In(dg.Nothing)})
def fails() -> None:
    raise ValueError("of two\nlines, and a traceback")


def job_of(executor: dg.ExecutorDefinition) -> dg.JobDefinition:
    @dg.job(executor_def=executor)
    def logging_job() -> None:
        fails(after=speaks())

    return logging_job


def in_process() -> dg.JobDefinition:
    return job_of(dg.in_process_executor)


def multiprocess() -> dg.JobDefinition:
    return job_of(dg.multiprocess_executor)
