# Makes a node of what lies on a volume: from-volume.sh VOLUME DIRECTORY
#
# The volume is mounted only now, so that a machine whose node is made does not wait for one, and only for as long as it is
# read. Nothing of it is changed; what a later start needs is copied.
set -eu
volume=$1 directory=$2

refuse() {
    echo "rustbalance: $1 No node was made; correct the volume and restart." >&2
    exit 1
}

# A start that ended early left a node without the volume's settings, which has the name that is given below.
if [ -e "$directory/config.toml" ] && ! grep -q '^id = "volume"$' "$directory/config.toml"; then
    exit 0
fi

mount=$(systemd-escape --path --suffix=mount "$volume")
trap 'rm -f "$directory/passphrase.tmp"; systemctl stop "$mount" || true' EXIT
systemctl start "$mount" ||
    refuse "there is no volume with the label that the image expects."
settings=$volume/settings.toml
[ -r "$settings" ] || refuse "the volume has no settings.toml."
# Two nodes of one image would be the same one without these.
grep -q '^ *id *= *"' "$settings" || refuse 'settings.toml names no node: [node] and below it id = "alpha".'
grep -q '^ *target *= *"\|^ *\[\[proxy\.targets]]' "$settings" || refuse 'settings.toml has no target: [proxy] and below it target = "tcp://IP:PORT".'

# Name and target are those of the settings in the end, which are laid over what is made.
if [ -e "$directory/config.toml" ]; then
    :
elif [ -e "$volume/invitation.txt" ]; then
    [ -r "$volume/passphrase.txt" ] || refuse "the volume has an invitation.txt and no passphrase.txt."
    # The tool takes only a file that nobody else may read; volumes that every system can write know no owner.
    install -m 600 "$volume/passphrase.txt" "$directory/passphrase.tmp"
    rustbalance join "$volume/invitation.txt" --node-id volume --directory "$directory" \
        --passphrase-file "$directory/passphrase.tmp"
else
    rustbalance init --node-id volume --target unix:/nowhere --directory "$directory"
fi
rustbalance merge-config "$directory/config.toml" "$settings" >"$directory/config.new"
mv "$directory/config.new" "$directory/config.toml"
