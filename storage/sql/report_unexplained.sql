-- One row per coder and explainer: how many features it could not explain that another one explained.
with told as (
    select
        coder,
        feature,
        explainer,
        bool_or(status = 'explained') as is_explained,
        bool_or(status = 'failed') as has_failed
    from summary
    where explainer is not null
    group by coder, feature, explainer
),

explained as (
    select distinct
        coder,
        feature
    from told
    where is_explained
)

select
    told.coder,
    told.explainer,
    count(*) as features
from told
inner join explained using (coder, feature)
where told.has_failed and not told.is_explained
group by told.coder, told.explainer
order by told.coder, told.explainer
