"""A command whose options are not silently overruled by themselves."""

from collections import Counter

import click


class OptionsOnce(click.Command):
    """A command that refuses an option that is given again and has one value: click takes the last one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does.

        Raises:
            click.UsageError: names the option that is given more than once.
        """
        if not ctx.resilient_parsing:
            _, _, order = self.make_parser(ctx).parse_args(args=list(args))
            for parameter, count in Counter(order).items():
                if count > 1 and isinstance(parameter, click.Option) and _has_one_value(parameter):
                    flag = max(parameter.opts, key=len)
                    raise click.UsageError(f"{flag} is given {count} times, and only once is possible", ctx)
        return super().parse_args(ctx, args)


def _has_one_value(option: click.Option) -> bool:
    return not (option.multiple or option.is_flag or option.count)
