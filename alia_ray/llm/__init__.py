"""Everything around the language model: captions in, prompts out, and the vLLM server between them."""


class LlmError(RuntimeError):
    """The language model, or its server, did not do its part. The message is for a person."""
