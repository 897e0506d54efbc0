-- One row per feature that needs more windows than `token_windows` has: fewer than one token's share of $n. Needs
-- `wanted_tokens` and `token_windows`.
with shares as (
    select
        feature,
        token,
        $n * firings / sum(firings) over (partition by feature) as share
    from wanted_tokens
),

had as (
    select
        feature,
        token,
        count(*) as windows
    from token_windows
    group by all
)

select distinct shares.feature
from shares
left join had using (feature, token)
where coalesce(had.windows, 0) < shares.share
order by shares.feature
