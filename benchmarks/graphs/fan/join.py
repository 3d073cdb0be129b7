from promptflow.core import tool


@tool
def join(**texts: str) -> str:
    return " ".join(texts.values())
