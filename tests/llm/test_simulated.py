from alia_ray.config import Discover, Llm, Model
from alia_ray.llm.discover import discover_domains
from alia_ray.llm.simulated import simulated_llm


def test_domains_are_discovered_as_with_any_other_server():
    llm, captions = Llm(model=Model(name="simulated:")), [f"a bird by the sea {n}" for n in range(30)]
    with simulated_llm(llm.model.name) as endpoint:
        found = discover_domains(captions, ["gull"], Discover(prefix="a photo (of a) {} bird"), llm, endpoint, 0)
    prompts = {row["prompt"]: row["support"] for row in found.domains}
    assert prompts["a photo (of a) {} bird by the sea"] == 30
    assert len(prompts) == 8
