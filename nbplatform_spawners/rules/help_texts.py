"""What ``nbplatform rules COMMAND --help`` says."""

from ..id_options import HELP as _ID_RANGE

RULES = """\
Work with the rules: the *.yaml files of one directory, as one rule book.

examples:
  nbplatform rules check placement_rules
  nbplatform rules explain alice --profile gpu
"""

CHECK = f"""\
Name every mistake at once, one a line as FILE:LINE: MESSAGE; then every warning.
With accounts also warn of users and groups that no account has, and of profiles that no host could serve.
{_ID_RANGE}\
exit status: 0 no mistake (warnings or not), 1 mistakes, 2 wrong use

examples:
  nbplatform rules check placement_rules
  nbplatform rules check placement_rules --accounts accounts.yaml
"""

EXPLAIN = f"""\
Say what a user gets and why: each field with the rule, profile or defaults that decided it, file and line.
With --format json one object for scripts; with --all a table, or one JSON object a line.
{_ID_RANGE}\
exit status: 0 allowed (always with --all), 3 refused, 1 the rules or the accounts are bad,
2 wrong use, also an unknown user or profile

examples:
  nbplatform rules explain alice --profile gpu --rules placement_rules --accounts accounts.yaml
  nbplatform rules explain sofia --profile cpu --at 2026-11-24T08:00+01:00
  nbplatform rules explain gus --provider edugain --format json
  nbplatform rules explain --all
"""

DIFF = f"""\
Say who would get something else by other rules: users for whom the same would change stand together.
{_ID_RANGE}\
exit status: 0 compared, 1 the rules or the accounts are bad, 2 wrong use

examples:
  nbplatform rules diff placement_rules new_rules --accounts accounts.yaml
  nbplatform rules diff placement_rules new_rules --accounts accounts.yaml --format json
"""

TEST = f"""\
Run the cases that the site wrote beside its rules, in DIR/tests/*.yaml.
A case that fails shows what was expected, what came out, and what decided it.
{_ID_RANGE}\
exit status: 0 all passed, 1 some failed or there is none, or the rules, the accounts or the cases are bad, 2 wrong use

examples:
  nbplatform rules test placement_rules
  nbplatform rules test placement_rules --accounts accounts.yaml
"""

SCHEMA = """\
Print the JSON Schema of rule files and files of cases: an editor that knows it marks typos while you write.
Save it, and name it in the first line of a rule file:  # yaml-language-server: $schema=rules.schema.json

example:
  nbplatform rules schema > rules.schema.json
"""
