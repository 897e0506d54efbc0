-- Temporary table `candidates`: one row per silent window that contains a token on which the feature fires. Tokens take
-- turns in proportion to how often the feature fires on them (Webster's apportionment, also called Sainte-Lague): the
-- i-th window of a token, from 0, has the turn (2 i + 1) / firings. A token without windows left leaves its turns to
-- the others. Each token gives twice as many windows as could be taken, since texts may repeat. Needs `token_windows`.
create or replace temporary table candidates as
with ranked as (
    select
        *,
        row_number() over (
            partition by feature, token
            order by hash(feature, sequence, start, $seed), sequence, start
        ) - 1 as place
    from token_windows
)

select
    feature,
    sequence,
    start,
    (2 * place + 1) / firings as turn,
    null::integer as near,
    null::float as distance
from ranked
where place < 2 * $n
