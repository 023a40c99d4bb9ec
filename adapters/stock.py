"""Every model type that transformers knows, with its default config: ``stock:qwen3_vl``."""

from __future__ import annotations

from . import installed
from .transformers_meta import Blueprint


class Stock(Blueprint):
    """A model type's default config.

    Args:
        model_type: As a ``config.json`` names it.
        auto: The Auto class that chooses which of its models it is; empty for the first that builds one.
    """

    def __init__(self, model_type: str, auto: str = "") -> None:
        super().__init__({"model_type": model_type}, f"stock:{model_type}")
        if auto:
            self.config = {**self.config, "architectures": [installed.model_types(auto)[model_type]]}
        self._auto = auto

    @staticmethod
    def model_types(auto: str) -> list[str]:
        """The model types that an Auto class, such as ``AutoModelForCausalLM``, builds."""
        return sorted(installed.model_types(auto))

    def own_error(self) -> str:
        """Why transformers itself does not build it; empty if it does."""
        import torch
        import transformers

        try:
            config = transformers.AutoConfig.for_model(self.config["model_type"])
            with torch.device("meta"):
                getattr(transformers, self._auto or "AutoModel").from_config(config)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            return " ".join(f"{type(error).__name__}: {error}".split())
        return ""
