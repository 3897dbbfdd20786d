"""What the app answers: the types of its API."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Layer(StrEnum):
    """What the map can show."""

    CLASS = "class"
    EMBEDDING = "embedding"
    UNCERTAINTY = "uncertainty"
    SIMILAR = "similar"


class PlacedBy(StrEnum):
    """Who says where a photo was taken."""

    EXIF = "exif"
    GIVEN = "given"


class Answer(BaseModel):
    """An answer of the app; nothing is changed after it is made."""

    model_config = ConfigDict(frozen=True)


class Problem(Answer):
    """Why there is no answer, in one line."""

    detail: str


class Health(Answer):
    """The app runs."""

    status: str = "ok"


class Info(Answer):
    """What the model is and what it can do."""

    name: str
    version: str = Field(description="Of geocsp.")
    kind: str
    classes: list[str]
    has_images: bool = Field(description="It takes photos.")
    has_prior: bool = Field(description="It knows where classes are.")
    has_report: bool
    layers: list[Layer]
    max_upload_bytes: int
    takes_time: bool
    fingerprint: str = Field(description="SHA-256 of the weights.")
    card: str | None = Field(description="The model card, Markdown.")


class Legend(Answer):
    """What the colours of a layer mean."""

    title: str
    low: float | None = Field(description="None for embeddings, whose colours are no numbers.")
    high: float | None
    unit: str
    colours: list[str] = Field(description="From low to high, evenly apart; none for embeddings.")


class ClassProbability(Answer):
    """How likely a class is."""

    name: str
    probability: float


class Place(Answer):
    """What the model says of a place."""

    lon: float
    lat: float
    classes: list[ClassProbability] = Field(description="The most likely ones, best first.")
    colour: str = Field(description="Of the embedding, as the map shows it.")
    uncertainty: float | None
    nearest: None = Field(default=None, description="Kept for later.")


class SimilarPlace(Answer):
    """A place that is like the one asked about."""

    lon: float
    lat: float
    similarity: float = Field(description="Cosine of the embeddings.")


class Similar(Answer):
    """Places like this one."""

    places: list[SimilarPlace]


class LikelyPlace(Answer):
    """Where a photo may have been taken."""

    lon: float
    lat: float
    probability: float = Field(description="Of the area around it.")


class Where(Answer):
    """Where a photo was taken, from its pixels alone."""

    places: list[LikelyPlace]
    overlay: str = Field(description="PNG as a data address, in web mercator.")
    bounds: tuple[float, float, float, float] = Field(description="West, south, east, north.")


class PhotoAnswer(Answer):
    """What the model says of a photo."""

    name: str
    lon: float | None
    lat: float | None
    placed_by: PlacedBy | None
    image: list[ClassProbability] | None = Field(description="From the pixels alone.")
    fused: list[ClassProbability] | None = Field(description="From pixels and place.")
    where: Where | None
    notes: list[str]


class CurvePoint(Answer):
    """Top-1 accuracy with one amount of labels."""

    shot: str
    labels: float
    mean: float
    low: float | None
    high: float | None


class Curve(Answer):
    """One row of an evaluation."""

    row: str
    label: str
    points: list[CurvePoint]


class TaskCurves(Answer):
    """All rows of an evaluation for one task and measure."""

    task: str
    measure: str
    curves: list[Curve]


class Report(Answer):
    """The label efficiency that an evaluation found."""

    tasks: list[TaskCurves]
