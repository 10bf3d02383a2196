"""Keeps a dataset with an unmodified LangSmith SDK, 0.1.147 or later: makes, lists, reads, changes and deletes.

Environment: LANGSMITH_ENDPOINT, LANGSMITH_API_KEY. Prints what it read, as JSON.
Exits with 1 if the SDK warns of anything but its own old names, or logs an error.
"""

import json
import uuid

from complaints import Complaints

complaints = Complaints()

import langsmith
from langsmith import Client
from langsmith.utils import LangSmithConflictError, LangSmithNotFoundError

INPUTS = {"question": "Where is Zürich? 🗺", "scores": [1, 0.5, None], "nested": {"a": {}}}
OUTPUTS = {"answer": "In Switzerland."}


def is_refused(error, call):
    """Whether the SDK takes the answer for this error."""
    try:
        call()
    except error:
        return True
    return False


def show(example):
    fields = ("id", "dataset_id", "inputs", "outputs", "metadata", "source_run_id", "created_at", "modified_at")
    return {field: getattr(example, field) for field in fields}


def keep_dataset(client, name):
    """By name and by id, alone and in lists."""
    assert not client.has_dataset(dataset_name=name)
    dataset = client.create_dataset(name, description="from a test")
    assert is_refused(LangSmithConflictError, lambda: client.create_dataset(name))
    assert client.has_dataset(dataset_name=name)
    assert client.read_dataset(dataset_name=name).id == client.read_dataset(dataset_id=dataset.id).id == dataset.id
    for question in ({"dataset_name": name}, {"dataset_name_contains": name[4:].upper()}, {"dataset_ids": [dataset.id]}):
        assert [it.id for it in client.list_datasets(**question)] == [dataset.id], question
    assert dataset.id in {it.id for it in client.list_datasets(data_type="kv")}
    return dataset


def keep_examples(client, dataset):
    """One alone, two in bulk, all of them read back."""
    id = uuid.uuid4()
    make = lambda: client.create_example(INPUTS, outputs=OUTPUTS, dataset_id=dataset.id, example_id=id,
                                         metadata={"origin": "test"}, split="train")
    made = make()
    assert made.id == id, made
    assert is_refused(LangSmithConflictError, make)
    client.create_examples(inputs=[{"n": 1}, {"n": 2}], outputs=[{"m": 1}, None], metadata=[{"k": 1}, {"k": 2}],
                           splits=["test", ["test", "hard"]], dataset_id=dataset.id)
    listed = list(client.list_examples(dataset_name=dataset.name))
    assert len(listed) == 3 and id in {it.id for it in listed}, listed
    numbers = lambda **question: sorted(it.inputs.get("n", 0) for it in client.list_examples(**question))
    assert numbers(dataset_id=dataset.id, splits=["test"]) == [1, 2]
    assert numbers(dataset_id=dataset.id, splits=["hard", "train"]) == [0, 2]
    assert numbers(dataset_id=dataset.id, metadata={"k": 2}) == [2]
    assert numbers(dataset_id=dataset.id, limit=1, offset=2) != numbers(dataset_id=dataset.id, limit=1, offset=1)
    assert numbers(example_ids=[id]) == [0]
    assert client.read_dataset(dataset_id=dataset.id).example_count == 3
    return client.read_example(id)


def change(client, example):
    """What is not named stays."""
    client.update_example(example.id, outputs={"answer": "In the north of Switzerland."})
    changed = client.read_example(example.id)
    assert (changed.inputs, changed.metadata) == (example.inputs, example.metadata), changed
    client.update_example(example.id, inputs={"question": ""}, metadata={"origin": "changed"}, split=["hard"])
    return [changed, client.read_example(example.id)]


def fill_a_page(client, dataset):
    """More than the SDK asks for at once."""
    client.create_examples(inputs=[{"n": n} for n in range(150)], dataset_id=dataset.id)
    assert sorted(it.inputs["n"] for it in client.list_examples(dataset_id=dataset.id)) == list(range(150))


def delete(client, dataset, example):
    client.delete_example(example.id)
    assert is_refused(LangSmithNotFoundError, lambda: client.read_example(example.id))
    assert client.read_dataset(dataset_id=dataset.id).example_count == 2
    client.delete_dataset(dataset_name=dataset.name)
    assert is_refused(LangSmithNotFoundError, lambda: client.read_dataset(dataset_id=dataset.id))
    assert not client.has_dataset(dataset_name=dataset.name)


def main():
    client = Client()
    name = f"Set {uuid.uuid4()}"
    dataset = keep_dataset(client, name)
    example = keep_examples(client, dataset)
    changed = change(client, example)
    delete(client, dataset, example)
    full = client.create_dataset(f"{name}, full")
    fill_a_page(client, full)
    client.delete_dataset(dataset_id=full.id)
    complaints.exit_on_any(but=("'outputs' is deprecated", "is deprecated. Use 'reference_outputs'"))
    read = {
        "sdk": langsmith.__version__,
        "dataset": {"id": dataset.id, "name": dataset.name, "description": dataset.description, "type": dataset.data_type},
        "example": show(example),
        "changed": [show(it) for it in changed],
    }
    print(json.dumps(read, default=lambda it: it.isoformat() if hasattr(it, "isoformat") else str(it)))


main()
