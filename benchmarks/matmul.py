"""``matmul`` at the shapes of the reference model, timed by ganbench's engine."""

from typing import Any

from ganbench import registry
from ganbench.errors import UnavailableError


class Matmul:
    """Seconds per product, for a fixed list of targets; a missing framework is n/a."""

    params = (["numpy", "torch", "jax"],)
    param_names = ("target",)
    unit = "seconds"
    timeout = 120

    def setup(self, label: str) -> None:
        # Frameworks are imported here, never at the top: one that is missing must not hide the others.
        from ganbench.data import load_images, staged_images
        from ganbench.gan import preset
        from ganbench.measure.engine import first_call, warm_up
        from ganbench.operations import operation
        from ganbench.reference import solve
        from ganbench.verify import verify

        target = registry.parse_target(label)
        try:
            self.backend = registry.load(target.backend)(target.mode, target.device)
        except UnavailableError as error:
            raise NotImplementedError(str(error)) from error
        spec = preset("mnist-mlp")
        self.operation = operation("matmul", spec)
        answers = solve(self.operation, "float32", staged_images(load_images(spec, None), spec, 0))
        inputs = self.operation.inputs(answers.seed, "float32", staged_images(load_images(spec, None), spec, 0))
        self.program, _, _ = first_call(self.backend, self.operation, inputs)
        check = verify(self.program, self.operation, answers, "float32")
        if not check.passed:
            raise AssertionError(check.reason)
        self.number = warm_up(self.backend, self.operation, self.program, 0.02, 0.25).number

    def track_call(self, label: str) -> dict[str, Any]:
        from ganbench.measure.engine import time_block

        timings = [time_block(self.backend, self.operation, self.program, self.number) for _ in range(10)]
        return {"samples": [timing.seconds for timing in timings], "number": self.number}

    # asv takes a returned {"samples", "number"} as timing data; these three make it a time benchmark.
    track_call.type = "time"  # type: ignore[attr-defined]
    track_call.unit = "seconds"  # type: ignore[attr-defined]
    track_call.rounds = 2  # type: ignore[attr-defined]
