# Manual pages from `umbel --experimental-dump-help`: an object from file name to text in troff.

def escaped: gsub("\\\\"; "\\e") | gsub("(?m)^\\."; "\\&.") | gsub("(?m)^'"; "\\&'") | gsub("-"; "\\-");

def name: if .kind == "short" then "\\-" + .name else "\\-\\-" + (.name | escaped) end;

def option:
    ".TP\n"
    + (if .kind == "positional" then "\\fI" + (.valueName | escaped) + "\\fR"
       else ([.names[] | "\\fB" + name + "\\fR"] | join(", "))
            + (if .kind == "option" then " \\fI" + (.valueName | escaped) + "\\fR" else "" end)
       end)
    + "\n" + ([.abstract, .discussion] | map(select(. != null) | escaped) | join(" "))
    + (if .defaultValue then " Default: " + (.defaultValue | escaped) + "." else "" end) + "\n";

def page($path):
    . as $command | ($path | join("-")) as $file
    | ".TH " + ($file | ascii_upcase | escaped) + " 1 \"\" \"Umbel\"\n.SH NAME\n"
    + ($file | escaped) + " \\- " + (.abstract // "" | escaped) + "\n.SH SYNOPSIS\n.B "
    + ($path | join(" ") | escaped)
    + (if .subcommands then "\n.I command" else "\n[\\fIoptions\\fR]" end) + "\n"
    + (if .discussion then ".SH DESCRIPTION\n" + (.discussion | escaped) + "\n" else "" end)
    + ([.arguments[]? | select(.shouldDisplay)] | if length > 0
       then ".SH OPTIONS\n" + (map(option) | join("")) else "" end)
    + ([.subcommands[]? | select(.shouldDisplay and .commandName != "help")] | if length > 0
       then ".SH COMMANDS\n" + (map(".TP\n\\fB" + $file + "\\-" + (.commandName | escaped)
            + "\\fR(1)\n" + (.abstract // "" | escaped) + "\n") | join("")) else "" end);

def pages($path):
    {($path | join("-") + ".1"): page($path)},
    (.subcommands[]? | select(.shouldDisplay and .commandName != "help")
        | pages($path + [.commandName]));

.command | [pages(["umbel"])] | add
