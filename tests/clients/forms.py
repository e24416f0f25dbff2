"""What openai for Python and the frameworks on it are asked with, as their users write it."""

from pydantic import BaseModel

SLOW = {"echo.rate": "20", "echo.tokens": "1000"}  # a built-in model told so would speak for minutes


class Weather(BaseModel):
    """Look the weather up."""

    city: str


class Time(BaseModel):
    """Look at the clock."""


class Booking(BaseModel):
    """What a caller wants."""

    name: str
    guests: int
