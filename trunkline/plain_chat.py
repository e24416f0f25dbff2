"""How a base model, one that only goes on with a text, is made to answer: a text in which an assistant answers.

Its own end of a turn it does not know: the blank line after an answer is where it is stopped. Examples come first,
without which a small model wanders off. The sampling keeps close to what it holds for likely and does not let it
repeat itself; tried on Gemma 3 270M.
"""

STOP = "\n\n"
MAX_TOKENS = 200  # where a caller names no limit: a spoken answer is shorter
TEMPERATURE = 0.1
DRY_MULTIPLIER = 0.8  # of the penalty on going on with a repetition

TEMPLATE = """\
{%- set told = namespace(text='') -%}
{%- for message in messages if message.role == 'system' -%}
{%- set told.text = told.text ~ message.content ~ ' ' -%}
{%- endfor -%}
{{ told.text or 'A phone call. The assistant is friendly and answers the user in one short sentence.' }}

### User
Hi there!

### Assistant
Hello! How can I help you today?

### User
What is the capital of Italy?

### Assistant
The capital of Italy is Rome.

### User
Can I change my booking?

### Assistant
Of course! Which day would suit you better?

{% for message in messages if message.role != 'system' and message.content -%}
### {{ 'Assistant' if message.role == 'assistant' else 'User' }}
{{ message.content }}

{% endfor -%}
### Assistant{{ '\\n' }}"""
