-- Macro: Wilson's 95 % interval (1927) of a share of n, as a struct of low and high; z = 1.959964. For other scores
-- between 0 and 1 n is their effective size: that of a share with the same variance. That of none begins at 0 and that
-- of all ends at 1, which rounding would miss.
create or replace temp macro wilson(share, n) as struct_pack(
    low := if(
        share = 0 and n is not null,
        0.0,
        (share + 3.841458821 / (2 * n) - 1.959963985 * sqrt(share * (1 - share) / n + 3.841458821 / (4 * n * n)))
        / (1 + 3.841458821 / n)
    ),
    high := if(
        share = 1 and n is not null,
        1.0,
        (share + 3.841458821 / (2 * n) + 1.959963985 * sqrt(share * (1 - share) / n + 3.841458821 / (4 * n * n)))
        / (1 + 3.841458821 / n)
    )
)
