-- Temporary table `sides`: one row per window of `ranked`, where documents may be kept apart: whether the explainer or
-- the scorers may be shown it. A feature's documents, in the random order of `segments`, go to the explainer until
-- they hold its share of the windows ($explain of every $explain + $score), the last one never; all others go to
-- the scorers. A window that spans documents of both goes to neither. Needs `ranked` and `segments`, and is empty where
-- those are. `random` is the last of the window's documents.
create or replace temporary table sides as
with touched as (
    select
        ranked.feature,
        ranked.origin,
        segments.document,
        segments.random
    from ranked
    inner join segments
        on
            ranked.origin // $length = segments.sequence
            and ranked.origin % $length < segments.end
            and ranked.origin % $length + $window > segments.first
),

weighed as (
    select
        feature,
        document,
        random,
        count(*) as windows
    from touched
    group by feature, document, random
),

ordered as (
    select
        feature,
        document,
        sum(windows) over (partition by feature) as windows,
        sum(windows) over (hashed rows unbounded preceding) - windows as before,
        count(*) over (partition by feature) as documents,
        row_number() over hashed as place
    from weighed
    window hashed as (partition by feature order by random, document)
),

split as (
    select
        feature,
        document,
        before * ($explain + $score) < windows * $explain and place < documents as explains
    from ordered
)

select
    touched.feature,
    touched.origin,
    case
        when bool_and(split.explains) then 'explain'
        when bool_or(split.explains) then 'neither'
        else 'score'
    end as side,
    max(touched.random) as random
from touched
inner join split using (feature, document)
group by touched.feature, touched.origin
