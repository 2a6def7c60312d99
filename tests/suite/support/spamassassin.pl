#!/usr/bin/perl
# What SpamAssassin itself says: for each file named on standard input a line of its name, a tab, and the scored rules that
# hit, separated by commas. Local tests only, no classifier, nobody's preferences.
#
# spamassassin.pl RULES_DIRECTORY CONFIGURATION_TEXT < list of files
use strict;
use warnings;
use Mail::SpamAssassin;

my ($rules, $text) = @ARGV;
my $filter = Mail::SpamAssassin->new({
    rules_filename => $rules,
    site_rules_filename => '/etc/spamassassin',
    userprefs_filename => '/nonexistent',
    dont_copy_prefs => 1,
    local_tests_only => 1,
    post_config_text => "use_bayes 0\n$text",
});
$filter->compile_now(0, 0);
my @begun = times;
my $count = 0;
while (my $file = <STDIN>) {
    chomp $file;
    open my $handle, '<:raw', $file or die "$file: $!\n";
    my $mail = $filter->parse([<$handle>]);
    my $status = $filter->check($mail);
    print "$file\t", $status->get_names_of_tests_hit, "\n";
    $status->finish;
    $mail->finish;
    $count++;
}
my @ended = times;
printf STDERR "cpu_ms_a_message=%.3f\n", 1000 * ($ended[0] + $ended[1] - $begun[0] - $begun[1]) / ($count || 1);
