#!/usr/bin/env perl
# follow_center_line in Perl: a request a line comes in, an answer a line goes out.
use strict;
use warnings;
use JSON::PP;

$| = 1;    # an answer that stays in a buffer is an answer that never comes

sub reward_function {
    my ($params) = @_;
    my $share = $params->{distance_from_center} / $params->{track_width};
    return $share <= 0.10 ? 1.0 : $share <= 0.25 ? 0.5 : $share <= 0.50 ? 0.1 : 1e-3;
}

my @waypoints;
while (my $line = <STDIN>) {
    my $request = decode_json($line);
    @waypoints = @{ $request->{waypoints} } if $request->{waypoints};    # only when they have changed
    my @rewards = map { reward_function($_) } @{ $request->{params} };
    print encode_json({ id => $request->{id}, rewards => \@rewards }), "\n";
}
