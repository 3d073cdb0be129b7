from penstock.flow import tool


@tool
def show(rounds: list, question: str) -> str:
    return repr(rounds)
