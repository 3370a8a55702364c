"""What may stand in a query: an allow-list of tree nodes and of functions. What is not named here is refused.

Two rings use it. ``parse`` checks the sqlglot tree against NODES and FUNCTION_NODES before anything else happens;
``engine`` checks DuckDB's own tree of the SQL it is about to run against ENGINE_FUNCTIONS, so that a spelling which
the first parser reads differently still meets the list.

Left out on purpose: functions that read files, settings, secrets, the catalog or other statements; that write (log,
sequence, variable, seed); that sleep; that report on storage (``stats``); and those that neither a time limit nor a
memory limit stops (edit distances are quadratic in one uninterruptible call). OPERATOR(schema.op) is left out with
them: it calls whatever function somebody has put behind it.
"""

from __future__ import annotations

NODES = frozenset(
    """
    Add Adjacent Alias Aliases All Any ArrayContainsAll ArrayOverlaps AtTimeZone Between BitwiseAnd
    BitwiseLeftShift BitwiseNot BitwiseOr BitwiseRightShift BitwiseXor Boolean Bracket ByteString CTE Collate
    Column ColumnDef Comprehension Cube DPipe DataType DataTypeParam Distance Distinct Div Dot EQ Escape Except
    ExtendsLeft ExtendsRight Fetch Filter Final ForIn FormatJson From GT GTE Glob Group GroupingSets Having
    HavingMax HexString ILike Identifier IgnoreNulls In IntDiv Intersect Interval IntervalOp IntervalSpan Is JSON
    JSONExtractQuote JSONKeyValue JSONPath JSONPathFilter JSONPathKey JSONPathPart JSONPathRecursive JSONPathRoot
    JSONPathSelector JSONPathSlice JSONPathSubscript JSONPathUnion JSONPathWildcard JSONValue Join Kwarg LT LTE
    Lambda Lateral Like Limit LimitOptions Literal Mod Mul NEQ Neg Not Null NullSafeEQ NullSafeNEQ Offset
    Or Order Ordered Overlaps Parameter Paren Pivot PivotAlias PivotAny Placeholder PositionalColumn Pow
    PropertyEQ Qualify RawString RegexpLike RespectNulls Rollup Select SetOperation SimilarTo Slice Star Sub
    Subquery Table TableAlias TableColumn TableSample Tuple UnicodeString Union UnpivotColumns Values Var Where
    Window WindowSpec With WithinGroup
    """.split()
)
"""Classes of sqlglot expressions that are not functions."""

FUNCTION_NODES = frozenset(
    """
    Abs Acos Acosh And Anonymous AnonymousAggFunc AnyValue ApproxDistinct ApproxQuantile ApproxTopK ArgMax ArgMin
    Array ArrayAgg ArrayAll ArrayAny ArrayAppend ArrayCompact ArrayConcat ArrayConcatAgg ArrayContainedBy
    ArrayContains ArrayContainsAll ArrayDistinct ArrayExcept ArrayFilter ArrayFirst ArrayIntersect ArrayLast
    ArrayMax ArrayMin ArrayOverlaps ArrayPosition ArrayPrepend ArrayRemove ArrayReverse ArraySize ArraySlice
    ArraySort ArraySum ArrayToString ArrayUniqueAgg ArraysZip Ascii Asin Asinh Atan Atan2 Atanh Avg BitLength
    BitwiseAndAgg BitwiseCount BitwiseOrAgg BitwiseXorAgg ByteLength Case Cast Cbrt Ceil Chr Coalesce Columns
    CombinedAggFunc Concat ConcatWs Contains ConvertTimezone Corr Cos Cosh CosineDistance Cot Count CountIf
    CovarPop CovarSamp CumeDist CurrentDate CurrentTime CurrentTimestamp Date DateAdd DateBin DateDiff
    DateFromParts DateFromUnixDate DateStrToDate DateSub DateTrunc Datetime DatetimeAdd DatetimeDiff DatetimeSub
    DatetimeTrunc Day DayOfMonth DayOfWeek DayOfWeekIso DayOfYear Dayname Decode Degrees DenseRank DotProduct
    Encode EndsWith EuclideanDistance Exists Exp Explode Extract Factorial First FirstValue Flatten Floor Format
    FromBase64 FromJson GenerateSeries Getbit Greatest GroupConcat Grouping GroupingId Hex Hour If Initcap IsArray
    IsInf IsNan IsNullValue JSONArray JSONArrayAgg JSONBExtract JSONBExtractScalar JSONExists JSONExtract
    JSONExtractArray JSONExtractScalar JSONFormat JSONKeys JSONObject JSONObjectAgg JSONRemove JSONSet
    JSONStripNulls JSONType Kurtosis Lag Last LastDay LastValue Lead Least Left Length List Ln Localtime
    Localtimestamp Log LogicalAnd LogicalOr Lower MD5 MD5Digest Map MapContainsKey MapFromEntries MapKeys MapSize
    Max Median Min Minute Mode Month Monthname Normalize NthValue Ntile Nullif NumberToStr Nvl2 ObjectAgg Or
    Overlay Pad ParameterizedAgg ParseJSON PercentRank PercentileCont PercentileDisc Pi Pow Quantile Quarter
    Radians Rand Rank Reduce RegexpCount RegexpExtract RegexpExtractAll RegexpFullMatch RegexpILike RegexpLike
    RegexpReplace RegexpSplit RegrAvgx RegrAvgy RegrCount RegrIntercept RegrR2 RegrSlope RegrSxx RegrSxy RegrSyy
    Repeat Replace Reverse Right Round RowNumber SHA SHA1Digest SHA2 SHA2Digest Second Sign Sin Sinh Skewness
    Space Split SplitPart Sqrt StartsWith Stddev StddevPop StddevSamp StrPosition StrToDate StrToTime StrToUnix
    String StringToArray Struct StructExtract Stuff Substring Sum Tan Tanh Time TimeAdd TimeDiff TimeFromParts
    TimeStrToDate TimeStrToTime TimeSub TimeToStr TimeToTimeStr TimeToUnix TimeTrunc Timestamp TimestampAdd
    TimestampDiff TimestampFromParts TimestampSub TimestampTrunc ToArray ToBase64 ToBinary ToChar ToDays ToDouble
    ToMap Transform Translate Trim Trunc Try TryCast TsOrDsAdd TsOrDsDiff TsOrDsToDate TsOrDsToTime
    TsOrDsToTimestamp Typeof Unhex Unicode UnixDate UnixMicros UnixMillis UnixSeconds UnixToStr UnixToTime Unnest
    Upper Uuid VarMap Variance VariancePop Week WeekOfYear WidthBucket Xor Year YearOfWeek YearOfWeekIso
    """.split()
)
"""Classes of sqlglot functions; an Anonymous one is looked up by name in the dialect's list."""

ENGINE_FUNCTIONS = frozenset(
    """
    unnest abs acos acosh add age ago any_value apply approx_count_distinct approx_quantile approx_top_k arbitrary
    arg_max arg_max_null arg_max_nulls_last arg_min arg_min_null arg_min_nulls_last argmax argmin array_agg
    array_aggr array_aggregate array_append array_apply array_cat array_concat array_contains
    array_cosine_distance array_cosine_similarity array_cross_product array_distance array_distinct
    array_dot_product array_extract array_filter array_grade_up array_has array_has_all array_has_any
    array_indexof array_inner_product array_intersect array_length array_negative_dot_product
    array_negative_inner_product array_pop_back array_pop_front array_position array_prepend array_push_back
    array_push_front array_reduce array_resize array_reverse array_reverse_sort array_select array_slice
    array_sort array_to_json array_to_string array_transform array_unique array_value array_where array_zip ascii
    asin asinh atan atan2 atanh avg base64 bin binom bit_and bit_count bit_length bit_or bit_position bit_xor
    bitstring bitstring_agg bool_and bool_or cardinality cbrt ceil ceiling century char_length character_length
    chr concat concat_ws contains corr cos cosh cot count count_if count_star countif covar_pop covar_samp
    cume_dist current_date current_localtime current_localtimestamp date_add date_diff date_part date_sub
    date_trunc datediff datepart datesub datetrunc day dayname dayofmonth dayofweek dayofyear days_in_month decade
    decimal_average decimal_division decode degrees dense_rank divide element_at encode ends_with entropy
    enum_code enum_first enum_last enum_range enum_range_boundary epoch epoch_ms epoch_ns epoch_us equi_width_bins
    era error even exp factorial favg fdiv fill filter first first_value flatten floor fmod format
    formatReadableDecimalSize formatReadableSize format_bytes from_base64 from_binary from_hex from_json
    from_json_strict fsum gamma gcd gen_random_uuid generate_series generate_subscripts geomean geometric_mean
    get_bit get_current_time get_current_timestamp get_type grade_up greatest greatest_common_divisor group_concat
    hamming hash hex histogram histogram_exact hour if ilike_escape instr isfinite isinf isnan isodow isoyear
    jaccard json json_array json_array_length json_contains json_deep_merge json_exists json_extract
    json_extract_path json_extract_path_text json_extract_string json_group_array json_group_object
    json_group_structure json_insert json_keys json_merge_patch json_merge_patch_diff json_normalize json_object
    json_pretty json_quote json_remove json_replace json_set json_strip_nulls json_structure json_transform
    json_transform_strict json_type json_valid json_value julian kahan_sum kurtosis kurtosis_pop lag last last_day
    last_value lcase lcm lead least least_common_multiple left left_grapheme len length length_grapheme lgamma
    like_escape list list_aggr list_aggregate list_any_value list_append list_apply list_approx_count_distinct
    list_avg list_bit_and list_bit_or list_bit_xor list_bool_and list_bool_or list_cat list_concat list_contains
    list_cosine_distance list_cosine_similarity list_count list_distance list_distinct list_dot_product
    list_element list_entropy list_extract list_filter list_first list_grade_up list_has list_has_all list_has_any
    list_histogram list_indexof list_inner_product list_intersect list_kurtosis list_kurtosis_pop list_last
    list_mad list_max list_median list_min list_mode list_negative_dot_product list_negative_inner_product
    list_pack list_position list_prepend list_product list_reduce list_resize list_reverse list_reverse_sort
    list_select list_sem list_skewness list_slice list_sort list_stddev_pop list_stddev_samp list_string_agg
    list_sum list_transform list_unique list_value list_var_pop list_var_samp list_where list_zip listagg ln log
    log10 log2 lower lpad ltrim lttb mad make_date make_time make_timestamp make_timestamp_ms make_timestamp_ns
    make_timestamptz make_type map map_concat map_contains map_contains_entry map_contains_value map_entries
    map_extract map_extract_value map_from_entries map_keys map_values max max_by md5 md5_number md5_number_lower
    md5_number_upper mean median microsecond millennium millisecond min min_by minute mismatches mod mode month
    monthname multiply nanosecond nextafter nfc_normalize normalized_interval not_ilike_escape not_like_escape now
    nth_value ntile nullif octet_length ord overlay parse_dirname parse_dirpath parse_filename
    parse_formatted_bytes parse_path path_join percent_rank pi position pow power prefix printf product quantile
    quantile_cont quantile_disc quarter radians random range rank rank_dense reduce regexp_escape regexp_extract
    regexp_extract_all regexp_full_match regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table
    regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy repeat replace
    reverse right right_grapheme round round_even roundbankers row row_number row_to_json rpad rtrim second sem
    set_bit sha1 sha256 sign signbit sin sinh skewness split split_part sqrt starts_with stddev stddev_pop
    stddev_samp str_split str_split_regex strftime string_agg string_split string_split_regex string_to_array
    strip_accents strlen strpos strptime struct_concat struct_contains struct_extract struct_extract_at struct_has
    struct_indexof struct_insert struct_keys struct_pack struct_position struct_update struct_values substr
    substring substring_grapheme subtract suffix sum sum_no_overflow sumkahan switch tan tanh time_bucket timezone
    timezone_hour timezone_minute to_base64 to_binary to_centuries to_days to_decades to_hex to_hours to_json
    to_microseconds to_millennia to_milliseconds to_minutes to_months to_quarters to_seconds to_timestamp to_weeks
    to_years today transaction_timestamp translate trim trunc try_strptime typeof ucase unbin unhex unicode
    union_extract union_tag union_value unpivot_list upper url_decode url_encode uuid uuid_extract_timestamp
    uuid_extract_version uuidv4 uuidv7 var_pop var_samp variance variant_array_length variant_contains
    variant_exists variant_extract variant_extract_string variant_group_array variant_group_object variant_keys
    variant_type variant_typeof wavg week weekday weekofyear weighted_avg xor year yearweek
    """.split()
)
"""Scalar, aggregate, macro and window functions of DuckDB, by the name its parser gives them."""

ENGINE_TABLE_FUNCTIONS = frozenset(
    """
    generate_series range unnest json_each json_tree
    """.split()
)
"""Functions that may stand in FROM: they see their arguments only."""

SQLITE_FUNCTIONS = frozenset(
    """
    abs avg ceil ceiling coalesce concat concat_ws count cume_dist date datetime dense_rank exp first_value floor
    format glob group_concat hex ifnull iif instr json json_array json_array_length json_extract json_object
    json_quote json_type json_valid julianday lag last_value lead length like likely ln log log10 log2 lower ltrim
    max median min mod nth_value ntile nullif octet_length percent_rank pi pow power printf quote rank round
    row_number rtrim sign sqrt strftime string_agg subsecond substr substring sum time timediff total trim trunc
    typeof unicode unixepoch unlikely upper
    """.split()
)
"""Functions of SQLite for queries in its own dialect."""

POSTGRES_FUNCTIONS = frozenset(
    """
    abs age array_agg array_length array_position array_remove array_to_string ascii avg bool_and bool_or btrim
    cardinality ceil ceiling char_length chr clock_timestamp coalesce concat concat_ws corr count cume_dist date
    date_bin date_part date_trunc degrees dense_rank div every exp extract first_value floor format
    generate_series greatest initcap isfinite json_agg json_array_length json_build_array json_build_object
    json_extract_path json_extract_path_text json_typeof jsonb_agg jsonb_array_length jsonb_build_object
    jsonb_extract_path jsonb_extract_path_text jsonb_typeof justify_days justify_hours justify_interval lag
    last_value lead least left length ln localtime localtimestamp log lower ltrim make_date make_interval
    make_time make_timestamp make_timestamptz max md5 min mod mode now nth_value ntile nullif octet_length
    percent_rank percentile_cont percentile_disc pi position power radians rank regexp_count regexp_match
    regexp_matches regexp_replace regexp_split_to_array regr_slope reverse right round row_number row_to_json
    rtrim sign split_part sqrt starts_with statement_timestamp stddev stddev_pop stddev_samp string_agg
    string_to_array strpos substr substring sum to_char to_date to_json to_jsonb to_number to_timestamp
    transaction_timestamp translate trim trunc unnest upper var_pop var_samp variance width_bucket
    """.split()
)
"""Functions of PostgreSQL for queries in its own dialect."""

GROWING_FUNCTIONS = frozenset(
    {"repeat", "lpad", "rpad", "list_resize", "array_resize", "format", "printf", "bitstring"}
)
"""Functions whose result can be far larger than their arguments, in one call that nothing interrupts."""
