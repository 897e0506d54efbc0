-- Adds to `drawn` one row per non-activating context: the first windows of `silent`, until a feature has $n of the kind
-- for the role. Holds for every kind: no text is drawn twice, no window overlaps an earlier context, and none lies in a
-- document of the other role where documents are kept apart; those of `silent` overlap none of each other. Needs
-- `cuts`, `segments` and `drawn`.
insert into drawn by name
with misplaced as (
    select
        silent.feature,
        silent.sequence,
        silent.start
    from silent
    inner join cuts on silent.feature = cuts.feature
    inner join segments
        on
            silent.sequence = segments.sequence
            and silent.start < segments.end
            and silent.start + $window > segments.first
    where (segments.random <= cuts.last) = ($role = 'score')
),

allowed as (
    select silent.*
    from silent
    anti join misplaced
        on
            silent.feature = misplaced.feature
            and silent.sequence = misplaced.sequence
            and silent.start = misplaced.start
    anti join drawn
        on
            silent.feature = drawn.feature
            and silent.sequence = drawn.sequence
            and silent.start < drawn.start + $window
            and silent.start + $window > drawn.start
),

unseen as (
    select allowed.*
    from allowed
    anti join drawn on allowed.feature = drawn.feature and allowed.text = drawn.text
    qualify row_number() over (
        partition by allowed.feature, allowed.text
        order by allowed.turn, allowed.sequence, allowed.start
    ) = 1
),

given as (
    select
        feature,
        count(*) as given
    from drawn
    where role = $role and kind = $kind
    group by feature
),

placed as (
    select
        unseen.*,
        coalesce(given.given, 0) + row_number() over (
            partition by unseen.feature
            order by unseen.turn, unseen.sequence, unseen.start
        ) - 1 as place
    from unseen
    left join given on unseen.feature = given.feature
)

select
    feature,
    $role::varchar as role,
    $kind::varchar as kind,
    null::integer as decile,
    sequence,
    start,
    0::float as peak,
    place,
    near,
    distance,
    other,
    text
from placed
where place < $n
