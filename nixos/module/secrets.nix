# Where the configuration has secrets: the section, the key that has the path of a file, and the shorter name of the same
# key, under which a sealed value reads better. Null where there is none.
[
  {
    section = [ "service" ];
    file = "master_key_file";
    short = "master_key";
  }
  {
    section = [ "mesh" ];
    file = "private_key_file";
    short = "private_key";
  }
  {
    section = [ "cluster" ];
    file = "token_file";
    short = "token";
  }
  {
    section = [ "join" ];
    file = "secret_file";
    short = "secret";
  }
  {
    section = [ "join" ];
    file = "ticket_file";
    short = "ticket";
  }
  {
    section = [
      "tor"
      "a"
    ];
    file = "password_file";
    short = "password";
  }
  {
    section = [
      "tor"
      "b"
    ];
    file = "password_file";
    short = "password";
  }
  {
    section = [ "vault" ];
    file = "passphrase_file";
    short = null;
  }
]
