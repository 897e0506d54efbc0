-- Macro: correlation of the shares a = x / m and b = y / n of right verdicts on contexts of two classes, from sums over
-- questions of the products of right ones and contexts, and from the variances of the two: within -1 and 1, and 0 where
-- one of them does not vary.
create or replace temp macro share_correlation(a, m, a_variance, b, n, b_variance, xy, xn, my, mn, questions) as
greatest(
    -1,
    least(
        1,
        coalesce(
            (xy - a * my - b * xn + a * b * mn) * questions / nullif(questions - 1, 0) / m / n
            / nullif(sqrt(a_variance * b_variance), 0),
            0
        )
    )
)
