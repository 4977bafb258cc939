"""Tables of exports and of inference speed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from thumbnet.cli.console import new_table, show
from thumbnet.engines import export_path
from thumbnet.runs.records import Export
from thumbnet.runs.run import Run

if TYPE_CHECKING:
    from thumbnet.bench.inference import EngineSpeed
    from thumbnet.export.web.export import WebExport


def print_export(run: Run, name: str, record: Export) -> None:
    """Print size, accuracy and speed of an export, compared with Keras."""
    keras = run.metrics()
    table = new_table("", "keras", name)
    table.add_cells("size", f"{keras.model_bytes:,} bytes", f"{record.bytes:,} bytes")
    if record.accuracy is not None and record.accuracy_loss_interval is not None:
        table.add_cells("accuracy", f"{record.keras_accuracy:.2%}", f"{record.accuracy:.2%}")
        low, high = (100 * bound for bound in record.accuracy_loss_interval)
        table.add_cells("accuracy loss, 95% CI", "", f"{low:+.2f} to {high:+.2f} points")
    table.add_cells("same prediction", "", f"{record.agreement:.2%}")
    table.add_cells("largest difference in probability", "", f"{record.max_difference:.2g}")
    table.add_cells(
        "throughput",
        f"{record.keras_images_per_second:,.0f} images/s",
        f"{record.images_per_second:,.0f} images/s",
    )
    latencies = (f"{record.keras_latency_ms:.1f} ms", f"{record.latency_ms:.1f} ms")
    table.add_cells("latency, one image", *latencies)
    show(table)
    bounds = ", ".join(
        f"{key.replace('_', ' ')} {bound:.2g}" for key, bound in record.tolerance.items()
    )
    show(
        f"compared on {record.images:,} {record.images_from}; within tolerance ({bounds}); "
        "both speeds were measured in this run\n"
        f"Export: {export_path(run.exports_path, name)}"
    )


def print_web_export(run: Run, page: "WebExport") -> None:
    """Print size and speed of an exported web page, compared with Keras."""
    table = new_table("", "web page")
    table.add_cells("size", f"{page.bytes:,} bytes")
    table.add_cells("same prediction as Keras", f"{page.agreement:.2%}")
    table.add_cells("largest difference in probability", f"{page.max_difference:.2g}")
    table.add_cells("throughput in the browser", f"{page.images_per_second:,.0f} images/s")
    show(table)
    show(
        f"compared on {page.images:,} {page.images_from}\n"
        f"Export: {run.exports_path / page.path} (opens in a browser, without a server)"
    )


def print_inference(rows: "Sequence[EngineSpeed]") -> None:
    """Print the speed of each engine."""
    batches = [int(size) for size in rows[0]["images_per_second"]]
    table = new_table(
        "engine",
        *(f"images/s, batch {size}" for size in batches),
        "p50",
        "p95",
        "p99",
        "start-up",
    )
    for row in rows:
        speeds = [f"{row['images_per_second'][str(size)]:,.0f}" for size in batches]
        latency = row["latency_ms"]
        milliseconds = [
            f"{value:.2f} ms" for value in (latency["p50"], latency["p95"], latency["p99"])
        ]
        table.add_cells(row["engine"], *speeds, *milliseconds, f"{row['startup_seconds']:.2f} s")
    show(table)
